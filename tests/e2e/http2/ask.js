// SPDX-License-Identifier: Apache-2.0
// ask.js PORT NUMBER CONCURRENT KIND PATH...: node's http2 as a client of serve.js, or of any other server,
// over one connection. KIND is what it does with each stream:
//
//	get     reads the answer
//	slow    reads it in pieces with pauses, through a window of 16 kB
//	upload  sends 400 kB first
//	cancel  gives up after 20 ms
//	push    takes what is pushed
//
// Prints `STATUS NUMBER` for each final status that it saw, `interim`, `pushed`, and `reset:CODE` for streams that
// ended so, whoever did it; with /sleep also the quantiles `served P50 P90 P99` that the server told, in seconds.
'use strict';
const http2 = require('http2');
const [port, number, concurrent, kind, ...paths] = process.argv.slice(2);

const seen = {};
const served = [];
const count = (what) => { seen[what] = (seen[what] || 0) + 1; };
const body = Buffer.alloc(400000);
const session = http2.connect(`http://127.0.0.1:${port}`, {
  settings: { enablePush: kind === 'push', initialWindowSize: kind === 'slow' ? 16384 : 1 << 20 },
});
session.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
session.on('stream', (pushed) => {
  pushed.on('push', () => count('pushed'));
  pushed.resume();
});

const read = {
  slow: (stream) => {
    stream.on('data', () => {
      stream.pause();
      setTimeout(() => stream.resume(), 5);
    });
  },
  cancel: (stream) => setTimeout(() => stream.close(http2.constants.NGHTTP2_CANCEL), 20),
};

let begun = 0;
let open = 0;
function next() {
  if (begun === Number(number)) {
    if (open === 0) finish();
    return;
  }
  const path = paths[begun % paths.length];
  begun += 1;
  open += 1;
  const stream = session.request({ ':path': path, ':method': kind === 'upload' ? 'POST' : 'GET' });
  if (kind === 'upload') stream.end(body);
  let text = '';
  stream.on('headers', () => count('interim'));
  stream.on('response', (headers) => count(headers[':status']));
  stream.on('error', () => {});
  if (read[kind]) read[kind](stream);
  else if (path.startsWith('/sleep')) stream.on('data', (data) => { text += data; });
  stream.on('close', () => {
    if (stream.rstCode) count(`reset:${stream.rstCode}`);
    if (text) served.push(Number(text) / 1000);
    open -= 1;
    next();
  });
  if (!read[kind] || kind === 'cancel') stream.resume();
}

function finish() {
  session.close(() => {
    for (const what of Object.keys(seen)) console.log(what, seen[what]);
    served.sort((a, b) => a - b);
    const quantile = (q) => served[Math.ceil(q * served.length) - 1].toFixed(6);
    if (served.length) console.log('served', ...[0.5, 0.9, 0.99].map(quantile));
  });
}
session.on('connect', () => {
  if (kind === 'slow') session.setLocalWindowSize(1 << 20);
  for (let i = 0; i < Math.min(Number(concurrent), Number(number)); i += 1) next();
});
