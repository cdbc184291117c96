<?php
// SPDX-License-Identifier: Apache-2.0
// mysqli.php PORT COUNT: prepared statements, which mysqlnd sends in MySQL's binary protocol. Prints what
// it saw as `OUTCOME NUMBER`, one for each answer after the login.
mysqli_report(MYSQLI_REPORT_OFF);
[, $port, $count] = $argv;
$server = new mysqli('127.0.0.1', 'root', '', 'test', (int)$port);
$seen = ['0' => 0, '1062' => 0];
$insert = $server->prepare('INSERT INTO once VALUES (?)');
$select = $server->prepare('SELECT ? + 1');
$seen['0'] += 2;
for ($i = 0; $i + 2 < $count; ++$i) {
  $statement = $i % 4 == 3 ? $insert : $select;
  $value = 1;
  $statement->bind_param('i', $value);
  $statement->execute();
  $seen[(string)$statement->errno] += 1;
  if ($statement === $select) $statement->get_result()->free();
}
foreach ($seen as $code => $number) echo "$code $number\n";
