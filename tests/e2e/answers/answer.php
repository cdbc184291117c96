<?php
// SPDX-License-Identifier: Apache-2.0
// What nginx asks by FastCGI. /ok, /missing, /broken and /busy say what they are called.
$statuses = ['/missing' => 404, '/broken' => 500, '/busy' => 503];
http_response_code($statuses[strtok($_SERVER['REQUEST_URI'], '?')] ?? 200);
echo "well\n";
