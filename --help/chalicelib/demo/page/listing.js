// Converts a record of the feed for display. Any JSON is accepted; property listings have all features.

import { count } from "./words.js";

/** Epoch milliseconds of `arrivedAt`, which is either that or an ISO date; NaN if neither. */
export function arrival(record) {
  const { arrivedAt } = record;
  if (typeof arrivedAt === "number") return arrivedAt < 1e11 ? arrivedAt * 1000 : arrivedAt;
  return Date.parse(arrivedAt);
}

/** {id, title, detail, status, price, latitude, longitude}; coordinates are null where missing. */
export function listing(record) {
  const data = record.data;
  const known = data !== null && typeof data === "object" && !Array.isArray(data) ? data : {};
  const title = known.address ?? known.title ?? known.name;
  const latitude = coordinate(known.latitude ?? known.lat, 90);
  const longitude = coordinate(known.longitude ?? known.lon ?? known.lng, 180);
  const placed = latitude !== null && longitude !== null;
  return {
    id: String(known.id ?? record.partitionKey ?? record.sequenceNumber),
    title: title === undefined || title === null ? String(record.partitionKey ?? "record") : String(title),
    detail: title === undefined || title === null ? excerpt(data) : describe(known),
    status: typeof known.status === "string" ? known.status : "",
    price: typeof known.price === "number" ? known.price : null,
    latitude: placed ? latitude : null,
    longitude: placed ? longitude : null,
  };
}

export function price(value) {
  return value === null ? "" : count(value);
}

function describe({ suburb, type, rooms, landSize }) {
  const parts = [suburb, type];
  if (typeof rooms === "number") parts.push(`${rooms} room${rooms === 1 ? "" : "s"}`);
  if (typeof landSize === "number" && landSize > 0) parts.push(`${count(landSize)} m²`);
  return parts.filter((part) => part !== undefined && part !== null && part !== "").join(" · ");
}

function excerpt(data) {
  const text = typeof data === "string" ? data : JSON.stringify(data) ?? "";
  return text.length > 140 ? `${text.slice(0, 139)}…` : text;
}

function coordinate(value, limit) {
  return typeof value === "number" && Math.abs(value) <= limit ? value : null;
}
