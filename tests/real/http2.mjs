// Asks over HTTP/2 with Node's own client, many streams on one connection: {origin, ca, cert, key, requests} as JSON on
// standard input, a list of answers as JSON on standard output.
import http2 from "node:http2";

const { origin, ca, cert, key, requests } = JSON.parse(await new Response(process.stdin).text());
const session = http2.connect(origin, { ca, cert, key });
session.on("error", () => {});

function ask({ path, method = "GET", headers = {}, body = "" }) {
  return new Promise((resolve) => {
    const answer = { status: 0, headers: {}, trailers: {}, text: "", error: "" };
    const stream = session.request({ ":path": path, ":method": method, ...headers }, { endStream: !body });
    stream.on("response", (fields) => {
      answer.status = fields[":status"];
      answer.headers = fields;
    });
    stream.on("trailers", (fields) => (answer.trailers = fields));
    stream.on("data", (data) => (answer.text += data));
    stream.on("error", (error) => (answer.error = String(error.code)));
    stream.on("close", () => resolve(answer));
    if (body) stream.end(body);
  });
}

const answers = await Promise.all(requests.map(ask));
session.close();
console.log(JSON.stringify(answers));
