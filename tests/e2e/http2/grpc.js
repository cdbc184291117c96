// SPDX-License-Identifier: Apache-2.0
// grpc.js serve PORT
// grpc.js ask PORT NUMBER CONCURRENT KIND METHOD...
//
// A server and a client of gRPC, both of grpc-js. Methods are those of grpc.go: /answer/CODE, /late/CODE,
// /never/0, /stream/N. KIND is `get`, `upload` (400 kB), `cancel` (after 50 ms). Prints `CODE NUMBER` for each
// grpc-status that the client saw.
'use strict';
const grpc = require('@grpc/grpc-js');
const [mode, port, number, concurrent, kind, ...methods] = process.argv.slice(2);
const address = `127.0.0.1:${port}`;
const bytes = (value) => value;

const handlers = {
  answer: (call, argument) => finish(call, argument),
  late: (call, argument) => {
    call.sendMetadata(new grpc.Metadata());
    finish(call, argument);
  },
  never: () => {},
  stream: (call, argument) => {
    let left = argument;
    const timer = setInterval(() => {
      if (left-- > 0) call.write(Buffer.alloc(5));
      else {
        clearInterval(timer);
        call.end();
      }
    }, 20);
  },
};
function finish(call, code) {
  if (code) call.emit('error', { code, details: 'as asked' });
  else {
    call.write(Buffer.alloc(0));
    call.end();
  }
}

// A service has to name its methods; all are streams, of which unary calls are one message.
function service() {
  const names = [];
  for (let i = 0; i < 17; i += 1) names.push(['answer', i], ['late', i]);
  for (let i = 0; i < 10; i += 1) names.push(['stream', i]);
  names.push(['never', 0]);
  const definition = {};
  const implementation = {};
  for (const [what, argument] of names) {
    const name = `${what}${argument}`;
    definition[name] = {
      path: `/${what}/${argument}`,
      requestStream: false,
      responseStream: true,
      requestSerialize: bytes,
      requestDeserialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes,
    };
    implementation[name] = (call) => handlers[what](call, argument);
  }
  return [definition, implementation];
}

function serve() {
  const server = new grpc.Server();
  server.addService(...service());
  server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error) => {
    if (error) throw error;
  });
}

function ask() {
  const client = new grpc.Client(address, grpc.credentials.createInsecure());
  const body = Buffer.alloc(kind === 'upload' ? 400000 : 0);
  const seen = {};
  let begun = 0;
  let open = 0;
  const next = () => {
    if (begun === Number(number)) {
      if (open > 0) return;
      for (const code of Object.keys(seen)) console.log(code, seen[code]);
      client.close();
      return;
    }
    const method = methods[begun % methods.length];
    begun += 1;
    open += 1;
    const call = client.makeServerStreamRequest(method, bytes, bytes, body);
    call.on('data', () => {});
    call.on('error', () => {});
    call.on('status', ({ code }) => {
      seen[code] = (seen[code] || 0) + 1;
      open -= 1;
      next();
    });
    if (kind === 'cancel') setTimeout(() => call.cancel(), 50);
  };
  // A call that is cancelled before there is a connection never leaves the client.
  client.waitForReady(Date.now() + 20000, (error) => {
    if (error) throw error;
    for (let i = 0; i < Math.min(Number(concurrent), Number(number)); i += 1) next();
  });
}

if (mode === 'serve') serve();
else ask();
