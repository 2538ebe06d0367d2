// The session handler as one would write it with Node.js and the AWS SDK: a websocket at the
// secret path, all shards of the stream from LATEST, records as JSON, exit on disconnect.

import { createServer } from "node:http";
import {
  GetRecordsCommand,
  GetShardIteratorCommand,
  KinesisClient,
  ListShardsCommand,
} from "@aws-sdk/client-kinesis";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { WebSocketServer } from "ws";

const { SESSION_ID, SESSION_UUID, FEED_URL, AWS_REGION, AWS_ENDPOINT_URL } = process.env;
const stream = new URL(FEED_URL).host;
// HTTP/1.1, because stand-ins for Kinesis do not speak HTTP/2 without TLS.
const requestHandler = new NodeHttpHandler();
const kinesis = new KinesisClient({ region: AWS_REGION, endpoint: AWS_ENDPOINT_URL, requestHandler });

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function decode(record) {
  const text = Buffer.from(record.Data).toString();
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    data = { base64: Buffer.from(record.Data).toString("base64") };
  }
  return {
    data,
    partitionKey: record.PartitionKey,
    sequenceNumber: record.SequenceNumber,
    arrivedAt: record.ApproximateArrivalTimestamp.getTime(),
  };
}

async function follow(socket, shardId, firstIterator) {
  let iterator = firstIterator;
  while (iterator && socket.readyState === socket.OPEN) {
    const answer = await kinesis.send(new GetRecordsCommand({ ShardIterator: iterator, Limit: 5000 }));
    const records = answer.Records.map(decode);
    for (let i = 0; i < records.length; i += 250) {
      const part = records.slice(i, i + 250);
      const cursor = `${shardId}.${part[part.length - 1].sequenceNumber}`;
      socket.send(JSON.stringify({ type: "records", records: part, cursor }));
    }
    iterator = answer.NextShardIterator;
    if (!answer.MillisBehindLatest) await pause(250);
  }
}

const server = createServer((request, response) => response.writeHead(404).end());
const sockets = new WebSocketServer({ noServer: true, maxPayload: 65536 });
server.on("upgrade", (request, tcp, head) => {
  if (request.url !== `/${SESSION_UUID}`) return tcp.destroy();
  return sockets.handleUpgrade(request, tcp, head, async (socket) => {
    socket.on("close", () => process.exit(0));
    const { Shards } = await kinesis.send(new ListShardsCommand({ StreamName: stream }));
    const iterators = await Promise.all(
      Shards.map(({ ShardId }) =>
        kinesis.send(
          new GetShardIteratorCommand({ StreamName: stream, ShardId, ShardIteratorType: "LATEST" }),
        ),
      ),
    );
    socket.send(JSON.stringify({ type: "hello", session: SESSION_ID, cursor: "" }));
    Shards.forEach(({ ShardId }, i) => follow(socket, ShardId, iterators[i].ShardIterator));
  });
});
server.listen(Number(process.env.SESSION_PORT || 0), "127.0.0.1", () => {
  process.stderr.write(`listening on port ${server.address().port}\n`);
});
