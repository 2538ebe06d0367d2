// Signing in at Cognito's hosted page: the authorization code grant with PKCE (RFC 7636), for a public client.

import { ROOT, session } from "./client.js";

const SIGNING_IN = "usher-sign-in";
const signInUrl = document.querySelector('meta[name="usher-sign-in"]').content;
const clientId = document.querySelector('meta[name="usher-client"]').content;
const redirectUri = () => location.origin + ROOT;
const asText = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const secret = () => asText(crypto.getRandomValues(new Uint8Array(32)));

/** Whether there is such a page. */
export const hasSignInPage = signInUrl !== "";

/** Leave for the hosted page. It comes back to the root of these pages, with a code. */
export async function beginSignIn() {
  const verifier = secret(), state = secret();
  const challenge = asText(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
  sessionStorage.setItem(SIGNING_IN, JSON.stringify({ verifier, state, back: location.pathname + location.search }));
  location.assign(`${signInUrl}/oauth2/authorize?${new URLSearchParams({ response_type: "code", client_id: clientId, redirect_uri: redirectUri(),
    scope: "openid", state, code_challenge_method: "S256", code_challenge: challenge })}`);
}

/** Change the code that the hosted page gave for a token. Returns what went wrong, or an empty text. */
export async function endSignIn() {
  const query = new URLSearchParams(location.search);
  const pending = JSON.parse(sessionStorage.getItem(SIGNING_IN) ?? "null");
  if (!pending || !query.has("state")) return "";
  sessionStorage.removeItem(SIGNING_IN);
  history.replaceState(null, "", pending.back);
  if (query.get("state") !== pending.state) return "The answer of the sign-in page was for another request.";
  if (!query.get("code")) return query.get("error_description") ?? query.get("error") ?? "The sign-in page gave no code.";
  try {
    const response = await fetch(`${signInUrl}/oauth2/token`, { method: "POST", credentials: "omit", redirect: "error", cache: "no-store",
      body: new URLSearchParams({ grant_type: "authorization_code", client_id: clientId, code: query.get("code"), redirect_uri: redirectUri(), code_verifier: pending.verifier }) });
    const answer = await response.json();
    if (!response.ok || !answer.id_token) return `The sign-in page gave no token: ${answer.error ?? response.status}`;
    session.key = answer.id_token;
    return "";
  } catch {
    return "The sign-in page does not answer.";
  }
}
