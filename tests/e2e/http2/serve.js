// SPDX-License-Identifier: Apache-2.0
// serve.js PORT: node's http2, without TLS. The path says what the server does:
//
//	/STATUS      answers with it
//	/big         200 kB
//	/interim     103, then 200
//	/trailers    200, a body and trailers
//	/upload      200 when the body has been read
//	/never       no answer: the client gives up
//	/reset/CODE  RST_STREAM with that code instead of an answer
//	/cut         RST_STREAM with INTERNAL_ERROR after the answer's headers and a part of its body
//	/push        200, and a second one that nobody asked for
//	/sleep/MS    answers after that, and says how many milliseconds it took
'use strict';
const http2 = require('http2');

const answers = {
  big: (stream) => answer(stream, 200, 'x'.repeat(200000)),
  interim: (stream) => {
    stream.additionalHeaders({ ':status': 103, link: '</style.css>; rel=preload' });
    answer(stream, 200);
  },
  trailers: (stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-checksum': '1' }));
    stream.end('well\n');
  },
  upload: (stream) => {
    stream.resume();
    stream.on('end', () => answer(stream, 200));
  },
  never: () => {},
  reset: (stream, code) => stream.close(code),
  // close() would end the answer first.
  cut: (stream) => {
    stream.respond({ ':status': 200 });
    stream.write('we', () => stream.destroy(new Error('cut')));
  },
  push: (stream) => {
    stream.pushStream({ ':path': '/pushed' }, (error, pushed) => {
      if (!error) answer(pushed, 200);
      answer(stream, 200);
    });
  },
  sleep: (stream, ms) => {
    const began = process.hrtime.bigint();
    setTimeout(() => answer(stream, 200, String(Number(process.hrtime.bigint() - began) / 1e6)), ms);
  },
};

function answer(stream, status, body = 'well\n') {
  if (stream.destroyed) return;
  stream.respond({ ':status': status, 'content-type': 'text/plain' });
  stream.end(body);
}

const server = http2.createServer();
server.on('stream', (stream, headers) => {
  // Clients that give up are what is tested.
  stream.on('error', () => {});
  const [what, argument] = headers[':path'].slice(1).split('/');
  if (answers[what]) answers[what](stream, Number(argument));
  else answer(stream, Number(what));
});
server.on('sessionError', () => {});
server.listen(Number(process.argv[2]), '127.0.0.1');
