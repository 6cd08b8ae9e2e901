// Node's undici as a client: reads {origin, ca, cert, key, connections, requests: [{method, path, headers, body,
// upload}]} as JSON from standard input, sends the requests in order over one pool, prints their answers as JSON.
// `upload` streams that many bytes in chunked coding.

import * as crypto from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { Pool } from 'undici';

const script = JSON.parse(readFileSync(0, 'utf8'));
const { ca, cert, key } = script;
const pool = new Pool(script.origin, { connections: script.connections ?? 1, connect: { ca, cert, key } });

function* zeros(size) {
  for (let left = size; left > 0; left -= 65536) yield Buffer.alloc(Math.min(left, 65536));
}

async function send({ method = 'GET', path = '/', headers = {}, body, upload }) {
  const answer = await pool.request({
    method, path, headers, body: upload === undefined ? body : Readable.from(zeros(upload)),
  });
  const digest = crypto.createHash('sha256');
  let size = 0;
  let text = '';
  for await (const piece of answer.body) {
    digest.update(piece);
    size += piece.length;
    if (text.length < 100000) text += piece.toString('latin1');
  }
  return {
    status: answer.statusCode, headers: answer.headers, trailers: answer.trailers,
    size, sha256: digest.digest('hex'), text,
  };
}

const answers = [];
for (const request of script.requests) answers.push(await send(request));
await pool.close();
process.stdout.write(JSON.stringify(answers));
