// Calls by @grpc/grpc-js: {target, ca, cert, key, calls: [{kind, token, sent}]} as JSON on standard input; for each call
// {code, details, got, metadata} on standard output. All are made at once, on one connection.
import grpc from "@grpc/grpc-js";

const { target, ca, cert, key, calls } = JSON.parse(await new Response(process.stdin).text());
const client = new grpc.Client(target, grpc.credentials.createSsl(...[ca, key, cert].map((pem) => Buffer.from(pem))));
const plain = (data) => data;

function call({ kind, token, sent }) {
  const metadata = new grpc.Metadata();
  if (token) metadata.set("authorization", `Bearer ${token}`);
  const messages = sent.map((text) => Buffer.from(text));
  const what = [`/test.Talk/${kind}`, plain, plain];
  const options = { deadline: Date.now() + 30000 };
  return new Promise((resolve) => {
    const answer = { code: -1, details: "", got: [], metadata: {} };
    const done = (error, data) => {
      if (data) answer.got.push(String(data));
    };
    const made = {
      unary: () => client.makeUnaryRequest(...what, messages[0], metadata, options, done),
      join: () => client.makeClientStreamRequest(...what, metadata, options, done),
      count: () => client.makeServerStreamRequest(...what, messages[0], metadata, options),
      echo: () => client.makeBidiStreamRequest(...what, metadata, options),
    }[kind]();
    if (kind === "count" || kind === "echo") {
      made.on("data", (data) => answer.got.push(String(data)));
      made.on("error", () => {}); // `status` follows
    }
    made.on("metadata", (fields) => Object.assign(answer.metadata, fields.getMap()));
    made.on("status", ({ code, details, metadata: trailers }) => {
      Object.assign(answer, { code, details });
      Object.assign(answer.metadata, trailers.getMap());
      setImmediate(() => resolve(answer)); // the message of a unary call comes after its status
    });
    if (kind === "join" || kind === "echo") {
      messages.forEach((message) => made.write(message));
      made.end();
    }
  });
}

const answers = await Promise.all(calls.map(call));
client.close();
console.log(JSON.stringify(answers));
