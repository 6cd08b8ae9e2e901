// An ordinary API on Node's http server. What it does is chosen by the query, as in flask_app.py; besides:
// ?gated (one Server-Sent Event at once, one more whenever GET /next comes, the last with GET /next?last),
// ?sink (reads the body, answers its size), ?trailers (a trailer after a chunked body), ?hints (103 before the answer), ?open (a body that ends with the
// connection), ?early (answers before it has read the body); `Upgrade: echo` becomes a tunnel that echoes.
// GET /count: {count, upgrades}.
//
// usage: node node_server.mjs PORT

import * as crypto from 'node:crypto';
import * as http from 'node:http';
import { pipeline, Readable } from 'node:stream';

const PIECE = Buffer.alloc(65536, Buffer.from(Array.from({ length: 256 }, (_, i) => i)));
let count = 0;
let upgrades = 0;
let gated;

function* pieces(size) {
  for (let left = size; left > 0; left -= PIECE.length) yield PIECE.subarray(0, Math.min(left, PIECE.length));
}

function json(response, status, value) {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': body.length });
  response.end(body);
}

async function echo(request, response, status) {
  const digest = crypto.createHash('sha256');
  let size = 0;
  for await (const piece of request) {
    digest.update(piece);
    size += piece.length;
  }
  json(response, status, {
    method: request.method, path: request.url, headers: request.rawHeaders, trailers: request.rawTrailers,
    body: { size, sha256: digest.digest('hex') },
  });
}

function events(response, number, every) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  let left = number;
  const timer = setInterval(() => {
    event(response);
    left -= 1;
    if (left === 0) response.end();
  }, every * 1000);
  response.on('close', () => clearInterval(timer));
}

function event(response) {
  response?.write(`data: ${Date.now() / 1000}\n\n`);
}

async function sink(request, response) {
  let size = 0;
  for await (const piece of request) size += piece.length;
  json(response, 200, { body: { size } });
}

function serve(request, response) {
  const { pathname, searchParams } = new URL(request.url, 'http://api');
  if (pathname === '/count') return json(response, 200, { count, upgrades });
  if (pathname === '/next') {
    event(gated);
    if (searchParams.has('last')) gated?.end();
    return json(response, 200, {});
  }
  count += 1;
  const is = (name) => searchParams.has(name);
  const number = (name, otherwise) => Number(searchParams.get(name) ?? otherwise);
  if (is('stream')) {
    response.writeHead(200, { 'Content-Length': number('stream', 0) });
    return pipeline(Readable.from(pieces(number('stream', 0))), response, () => {});
  }
  if (is('events')) return events(response, number('events', 1), number('every', 0));
  if (is('gated')) {
    gated = response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    return event(gated);
  }
  if (is('sink')) return sink(request, response);
  if (is('trailers')) {
    response.writeHead(200, { Trailer: 'X-Digest' });
    response.write('body');
    response.addTrailers({ 'X-Digest': 'of the body' });
    return response.end();
  }
  if (is('open')) {
    response.useChunkedEncodingByDefault = false;
    response.writeHead(200, { Connection: 'close' });
    return response.end('until the end');
  }
  if (is('early')) return json(response, 200, { early: true });
  if (is('hints')) response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
  return echo(request, response, number('status', 200));
}

const server = http.createServer(serve);
server.on('upgrade', (request, socket, head) => {
  upgrades += 1;
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n');
  if (head.length) socket.write(head);
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
});
server.on('clientError', (error, socket) => socket.destroy());
server.listen(Number(process.argv[2]), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
