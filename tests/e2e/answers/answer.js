// SPDX-License-Identifier: Apache-2.0
// answer.js PORT: node's http. /ok, /missing, /broken and /busy say what they are called; an Upgrade gets
// 101, and from then on an echo.
'use strict';
const http = require('http');
const statuses = { '/missing': 404, '/broken': 500, '/busy': 503 };

const server = http.createServer((request, response) => {
  request.resume();
  request.on('end', () => {
    response.statusCode = statuses[request.url.split('?')[0]] || 200;
    response.end('well\n');
  });
});
server.on('upgrade', (_request, socket) => {
  socket.on('error', () => {});
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n');
  socket.pipe(socket);
});
server.listen(Number(process.argv[2]), '127.0.0.1');
