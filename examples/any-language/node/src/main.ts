// Serves the scorecard as a model: gRPC and the messages of proto/rendezvous/v1, no SDK.
import { readFileSync } from "node:fs";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import * as grpc from "@grpc/grpc-js";
import { loadFileDescriptorSetFromBuffer } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation } from "grpc-health-check";
import { v7 as newId } from "uuid";
import { Columns, Refusal, checkFrame } from "./frame.js";
import { Error as Failure, ErrorCode } from "./rendezvous/v1/error.js";
import { Frame } from "./rendezvous/v1/frame.js";
import { ModelInfo, Package, Signature } from "./rendezvous/v1/model.js";
import { type ScoreServer, ScoreReply, ScoreRequest, ScoreService, Timing } from "./rendezvous/v1/score.js";
import { inputs, labels, outputs, score } from "./scorecard.js";

const MAX_ROWS = 100_000n; // one table; a request that claims more is refused before anything of that size is made
const GRACE_MS = 5000;
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const TRACE = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;
const STATUSES = new Map<ErrorCode, grpc.status>([ // others that this server gives are INVALID_ARGUMENT
  [ErrorCode.ERROR_CODE_UNKNOWN_ENDPOINT, grpc.status.NOT_FOUND],
  [ErrorCode.ERROR_CODE_UNKNOWN_MODEL, grpc.status.NOT_FOUND],
  [ErrorCode.ERROR_CODE_MODEL_FAILED, grpc.status.INTERNAL],
]);

const setting = (name: string, otherwise: string): string => process.env[`RENDEZVOUS_${name}`] || otherwise;
const endpoint = setting("ENDPOINT", "scorecard");
const model = setting("MODEL", "node");
const version = setting("VERSION", "1");

// Microseconds since 1970: the wall clock counts milliseconds only, so what passes since is taken from the other clock.
function startClock(): () => bigint {
  const [wallMs, startedMs] = [Date.now(), performance.now()];
  return () => BigInt(Math.round((wallMs + performance.now() - startedMs) * 1000));
}

function describe(): ModelInfo {
  const manifest = JSON.parse(readFileSync(new URL("./package.json", import.meta.url), "utf8"));
  return ModelInfo.create({
    name: model,
    version,
    language: "typescript",
    runtime: `Node.js ${process.versions.node}`,
    signature: Signature.create({ inputs, outputs }),
    task: "classification",
    labels,
    description: "A scorecard of hand-written rules.",
    packages: Object.entries(manifest.dependencies as Record<string, string>).map((each) =>
      Package.create({ name: each[0], version: each[1] }),
    ),
  });
}

// Never throws: what is wrong is in the reply, as ScoreStream sends it.
function answer(request: ScoreRequest, metadata: grpc.Metadata): ScoreReply {
  const unixUs = startClock();
  const receivedUnixUs = unixUs();
  const reply = ScoreReply.create({ requestId: request.requestId, model, version });
  reply.traceparent = traceparent(request, metadata);
  try {
    const columns = check(request);
    reply.requestId ||= newId();
    const startedUnixUs = unixUs();
    const rows = request.inputs?.rows ?? 0n;
    reply.outputs = Frame.create({ rows, columns: score(columns, Number(rows)) });
    reply.timing = Timing.create({ receivedUnixUs, startedUnixUs, finishedUnixUs: unixUs() });
  } catch (cause) {
    reply.error = toFailure(cause);
  }
  return reply;
}

function toFailure(cause: unknown): Failure {
  if (cause instanceof Refusal) {
    const { code, message, attributes } = cause;
    return Failure.create({ code, message, attributes });
  }
  console.error("the model failed:", cause); // the stack is for the log, not for the wire
  const { name: exception, message } = cause instanceof Error ? cause : { name: typeof cause, message: String(cause) };
  return Failure.create({
    code: ErrorCode.ERROR_CODE_MODEL_FAILED,
    message: `the model raised ${exception}: ${message.replace(/\s+/g, " ").slice(0, 300)}`,
    attributes: { exception },
  });
}

function check(request: ScoreRequest): Columns {
  const { requestId, inputs: frame = Frame.create(), diagnostics } = request;
  if (requestId && !NAME.test(requestId)) {
    const shown = JSON.stringify(requestId.slice(0, 80));
    const message = `request id ${shown} is not allowed: use 1 to 64 of A-Z a-z 0-9 _ -`;
    throw new Refusal(ErrorCode.ERROR_CODE_INVALID_REQUEST, message);
  }
  checkEndpoint(request.endpoint);
  if (diagnostics?.forceModel && diagnostics.forceModel !== model) {
    const message = `model ${JSON.stringify(diagnostics.forceModel.slice(0, 80))} was asked for; here is only ${model}`;
    throw new Refusal(ErrorCode.ERROR_CODE_UNKNOWN_MODEL, message);
  }
  checkFrame(frame);
  if (frame.rows < 1n) {
    throw new Refusal(ErrorCode.ERROR_CODE_INVALID_FRAME, `the request has ${frame.rows} rows: send at least 1`);
  }
  if (frame.rows > MAX_ROWS) {
    const message = `the request has ${frame.rows} rows; the limit is ${MAX_ROWS}: send it in parts`;
    throw new Refusal(ErrorCode.ERROR_CODE_TOO_LARGE, message);
  }
  return new Columns(frame, inputs);
}

function checkEndpoint(asked: string): void {
  if (["", endpoint, model].includes(asked)) return;
  const shown = JSON.stringify(asked.slice(0, 80));
  const message = `endpoint ${shown} is not served here; here is model ${model} of endpoint ${endpoint}`;
  throw new Refusal(ErrorCode.ERROR_CODE_UNKNOWN_ENDPOINT, message);
}

// The request's own, unchanged, since no span is made here; empty if there is none or it is malformed.
function traceparent(request: ScoreRequest, metadata: grpc.Metadata): string {
  const parent = request.traceparent || String(metadata.get("traceparent")[0] ?? "");
  return TRACE.test(parent) ? parent : "";
}

// An error as a call's status; programs read the whole of it from the trailing metadata.
function toStatus(failure: Failure): Partial<grpc.StatusObject> {
  const metadata = new grpc.Metadata();
  metadata.set("rendezvous-error-bin", Buffer.from(Failure.encode(failure).finish()));
  return { code: STATUSES.get(failure.code) ?? grpc.status.INVALID_ARGUMENT, details: failure.message, metadata };
}

const service: ScoreServer = {
  describe(call, callback) {
    try {
      checkEndpoint(call.request.endpoint);
      callback(null, describe());
    } catch (cause) {
      callback(toStatus(toFailure(cause)));
    }
  },
  score(call, callback) {
    const reply = answer(call.request, call.metadata);
    if (reply.error) callback(toStatus(reply.error));
    else callback(null, reply);
  },
  scoreStream(call) {
    call.on("data", (request: ScoreRequest) => {
      if (call.write(answer(request, call.metadata))) return;
      call.pause(); // the client does not read: take no more until it does
      call.once("drain", () => call.resume());
    });
    call.on("end", () => call.end());
    call.on("error", (cause: Error) => console.error(`a stream ended: ${cause.message}`));
  },
};

// Text that is not UTF-8 would else be read with replacement characters in it.
class StrictReader extends BinaryReader {
  override string(): string {
    return super.string(true);
  }
}
const requestDeserialize = (bytes: Buffer): ScoreRequest => ScoreRequest.decode(new StrictReader(bytes));

const server = new grpc.Server();
server.addService(
  {
    ...ScoreService,
    score: { ...ScoreService.score, requestDeserialize },
    scoreStream: { ...ScoreService.scoreStream, requestDeserialize },
  },
  service,
);
const health = new HealthImplementation({ "": "SERVING", "rendezvous.v1.Score": "SERVING" });
health.addToServer(server);
// Made by the build: the descriptors of all that is served here.
const descriptors = loadFileDescriptorSetFromBuffer(readFileSync(new URL("./services.binpb", import.meta.url)));
new ReflectionService(descriptors).addToServer(server);

const host = setting("GRPC_HOST", "127.0.0.1");
server.bindAsync(`${host}:${setting("GRPC_PORT", "0")}`, grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) {
    console.error(`cannot listen: ${error.message}; choose another RENDEZVOUS_GRPC_PORT, or 0 for a free one`);
    process.exit(1);
  }
  console.log(
    `ready: model ${model}:${version} of endpoint ${endpoint}, replica ${model}-${process.pid}, grpc ${host}:${port}`,
  );
});

let isDraining = false;
function drain(): void {
  if (isDraining) return server.forceShutdown(); // a second signal
  isDraining = true;
  for (const name of ["", "rendezvous.v1.Score"]) health.setStatus(name, "NOT_SERVING"); // callers go elsewhere
  setTimeout(() => server.forceShutdown(), GRACE_MS).unref(); // open streams may never end by themselves
  server.tryShutdown(() => process.exit(0));
}
process.on("SIGTERM", drain);
process.on("SIGINT", drain);
