// An API of gRPC by @grpc/grpc-js on the port that is given: `test.Talk`, four kinds of call on plain bytes, as in
// grpc_api.py. Each call is a line on standard output.
import grpc from "@grpc/grpc-js";

const plain = (data) => data;
const method = (name, requestStream, responseStream) => ({
  path: `/test.Talk/${name}`,
  requestStream,
  responseStream,
  requestSerialize: plain,
  requestDeserialize: plain,
  responseSerialize: plain,
  responseDeserialize: plain,
});

const service = {
  unary: method("unary", false, false),
  join: method("join", true, false),
  count: method("count", false, true),
  echo: method("echo", true, true),
};

const talk = {
  unary(call, answer) {
    console.log("unary");
    if (String(call.request) === "fail") {
      const trailers = new grpc.Metadata();
      trailers.set("x-why", "asked to");
      answer({ code: grpc.status.FAILED_PRECONDITION, details: "as asked: 100 %", metadata: trailers });
      return;
    }
    answer(null, call.request);
  },
  join(call, answer) {
    console.log("join");
    const pieces = [];
    call.on("data", (piece) => pieces.push(piece));
    call.on("end", () => answer(null, Buffer.concat(pieces)));
  },
  count(call) {
    console.log("count");
    for (let number = 0; number < Number(String(call.request)); number++) call.write(Buffer.from(String(number)));
    call.end();
  },
  echo(call) {
    console.log("echo");
    call.on("data", (piece) => call.write(piece));
    call.on("end", () => call.end());
  },
};

const server = new grpc.Server();
server.addService(service, talk);
server.bindAsync(`127.0.0.1:${process.argv[2]}`, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
process.on("SIGTERM", () => server.forceShutdown() || process.exit(0));
