#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ask.py KIND PORT COUNT [ARGUMENT...]: a client that counts what it saw.

Asks the server on that port of 127.0.0.1 COUNT times and prints a line CODE NUMBER for each kind of
answer: an SQLSTATE, an error number, the first word of a reply. Debian's Python, for its libraries.
"""
import collections
import random
import socket
import ssl
import sys
import time

seen = collections.Counter()


def dial(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def postgresql(port, count):
    """The extended protocol: psycopg sends Parse, Bind, Describe, Execute and Sync at once."""
    import psycopg

    where = f"host=127.0.0.1 port={port} user=postgres sslmode=disable gssencmode=disable"
    queries = [
        ("SELECT %s::int", 1),
        ("SELECT 1 / %s::int", 0),
        ("SELECT generate_series(1, %s::int)", 10),
        ("SELECT * FROM nowhere WHERE a = %s", 1),
        ("INSERT INTO once VALUES (%s)", 1),
        ("UPDATE once SET a = a WHERE a = %s", 1),
        ("SELECT fail(%s)", "40001"),
        ("SELECT fail(%s)", "53200"),
        ("SELECT %s::text", "x" * 100000),
        ("SELECT fail(%s)", "57014"),
        ("SELECT fail(%s)", "XX000"),
        ("SELECT fail(%s)", "28000"),
    ]
    with psycopg.connect(where, autocommit=True, prepare_threshold=None) as server:
        seen["login"] += 1
        for i in range(count - 1):
            query, value = queries[i % len(queries)]
            try:
                server.execute(query, (value,))
                seen["00000"] += 1
            except psycopg.Error as error:
                seen[error.sqlstate] += 1


def postgresql_login(port, count):
    """With passwords, every second of them wrong, and after asking for TLS, which the server has not."""
    import psycopg

    for i in range(count // 4):
        where = f"host=127.0.0.1 port={port} user=guest dbname=postgres sslmode=prefer gssencmode=disable"
        seen["N"] += 1
        seen["login"] += 2  # which way to log in, and what to make of the password
        try:
            psycopg.connect(where, password="secret" if i % 2 else "wrong").close()
            seen["login"] += 1
        except psycopg.OperationalError as error:
            seen["28P01" if "authentication failed" in str(error) else str(error)] += 1


def postgresql_full(port, count, held):
    """All connections are taken: max_connections is exhausted."""
    import psycopg

    where = f"host=127.0.0.1 port={port} user=postgres sslmode=disable gssencmode=disable"
    kept = [psycopg.connect(where) for _ in range(int(held))]
    seen["login"] += len(kept)
    for _ in range(count - len(kept)):
        try:
            psycopg.connect(where).close()
            seen["login"] += 1
        except psycopg.OperationalError as error:
            seen["53300" if "too many clients" in str(error) else str(error)] += 1


def mysql_at(port):
    import pymysql

    return pymysql.connect(host="127.0.0.1", port=port, user="root", database="test", autocommit=True)


def mysql_login(port, count):
    """Every second login is refused."""
    import pymysql

    for i in range(count):
        try:
            pymysql.connect(host="127.0.0.1", port=port, user=("guest", "root")[i % 2], password="", autocommit=True).close()
            seen["0"] += 1
        except pymysql.MySQLError as error:
            seen[str(error.args[0])] += 1


def mysql(port, count):
    """The text protocol, by PyMySQL. A second connection holds the lock that some wait for."""
    import pymysql

    queries = [
        "SELECT 1",
        "SELECT * FROM nowhere",
        "SELECT REPEAT('x', 100000)",
        "INSERT INTO once VALUES (1)",
        "UPDATE once SET a = 1 WHERE a = 1",
        "SELEKT",
        "UPDATE locked SET a = 2",
        "SELECT 1 INTO OUTFILE '/nowhere/file'",
        "SELECT 2 LIMIT 0",
        "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
    ]
    holder = mysql_at(port)
    server = mysql_at(port)
    seen["0"] += 2
    for connection, query in ((holder, "BEGIN"), (holder, "SELECT a FROM locked FOR UPDATE"),
                              (server, "SET innodb_lock_wait_timeout = 0")):
        connection.cursor().execute(query)
        seen["0"] += 1
    for i in range(count - 5):
        try:
            server.cursor().execute(queries[i % len(queries)])
            seen["0"] += 1
        except pymysql.MySQLError as error:
            seen[str(error.args[0])] += 1


def mysql_full(port, count, held):
    """All connections are taken: the refusal comes unasked, in the greeting's place."""
    import pymysql

    kept = [mysql_at(port) for _ in range(int(held))]
    seen["0"] += len(kept)
    for _ in range(count - len(kept)):
        try:
            mysql_at(port).close()
            seen["0"] += 1
        except pymysql.MySQLError as error:
            seen[str(error.args[0])] += 1


def mysql_paced(port, count, rate, lifetime):
    """A query so many times a second; lifetime: kept, or short for a connection of each query's own."""
    server = None
    for _ in paced(count, rate):
        server = server or mysql_at(port)
        server.cursor().execute("SELECT 1")
        seen["0"] += 1
        if lifetime == "short":
            server.close()
            server = None


def memcached(port, count):
    """The text protocol, of which it has no client of its own."""
    requests = [
        b"set key 0 0 5\r\nvalue\r\n",
        b"get key\r\n",
        b"get nothing\r\n",
        b"get nothing key\r\n",
        b"nonsense\r\n",
        b"set key 0 0 much\r\n",
        b"set large 0 0 3000\r\n" + b"x" * 3000 + b"\r\n",
        b"add key 0 0 5\r\nother\r\n",
        b"delete nothing\r\n",
        b"mg nothing v\r\n",
    ]
    server = dial(port)
    lines = server.makefile("rb")
    for i in range(count):
        server.sendall(requests[i % len(requests)])
        line = lines.readline()
        seen[line.split()[0].decode()] += 1
        while line.startswith(b"VALUE"):
            lines.read(int(line.split()[3]) + 2)
            line = lines.readline()


def redis_reply(lines):
    """The code of one reply of RESP2: its first word, or nil."""
    line = lines.readline()
    if line[:1] == b"-":
        return line[1:].split()[0].decode()
    if line[:3] in (b"$-1", b"*-1"):
        return "nil"
    if line[:1] == b"$":
        lines.read(int(line[1:]) + 2)
    for _ in range(int(line[1:]) if line[:1] == b"*" else 0):
        redis_reply(lines)
    return "OK"


def redis_pipelined(port, count):
    """Bursts of 16, whose replies Redis sends at once; none with parts, behind which no more are counted."""
    commands = [b"SET key value", b"GET nothing", b"LPUSH key x", b"GET key", b"STRLEN key",
                b"NONSENSE", b"INCR number", b"GET", b"INFO server", b"EVAL \"return redis.error_reply('BUSY no')\" 0",
                b"GET nothing", b"PING", b"LRANGE key 0 1", b"GET key", b"EXISTS nothing", b"GET nothing"]
    server = dial(port)
    lines = server.makefile("rb")
    for _ in range(count // len(commands)):
        server.sendall(b"".join(command + b"\r\n" for command in commands))
        for _ in commands:
            seen[redis_reply(lines)] += 1


def upgrade(port, count):
    """101, and three exchanges of another protocol on that connection."""
    for _ in range(count // 4):
        with dial(port) as server:
            server.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            head = b""
            while b"\r\n\r\n" not in head:
                head += server.recv(4096)
            seen[head.split()[1].decode()] += 1
            for _ in range(3):
                server.sendall(b"HTTP/1.1 500 is no status here\r\n")
                server.recv(4096)
                seen["echo"] += 1


def interim(port, count):
    """`Expect: 100-continue`: the body follows once the server asked for it."""
    server = dial(port)
    lines = server.makefile("rb")

    def head():
        status = lines.readline().split()[1].decode()
        length = 0
        while (line := lines.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split()[1])
        return status, length

    paths = ("/ok", "/missing", "/ok", "/busy")
    for i in range(count):
        server.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
                       % paths[i % len(paths)].encode())
        status, _ = head()
        if status == "100":
            seen["interim"] += 1
            server.sendall(b"body")
            status, length = head()
            lines.read(length)
        seen[status] += 1


def paced(count, rate):
    """Yields COUNT times, RATE times a second."""
    begin = time.monotonic()
    for i in range(count):
        time.sleep(max(0, begin + i / float(rate) - time.monotonic()))
        yield i


def postgresql_held(port, count):
    """Takes so many connections and keeps them, until it is ended."""
    import psycopg

    kept = []
    while True:
        try:
            kept.append(psycopg.connect(f"host=127.0.0.1 port={port} user=postgres sslmode=disable gssencmode=disable"))
        except psycopg.OperationalError:
            time.sleep(0.1)
        while len(kept) >= count:
            time.sleep(60)


def postgresql_short(port, count, rate):
    """A connection for each query, also where there is none to be had."""
    import psycopg

    for _ in paced(count, rate):
        try:
            with psycopg.connect(f"host=127.0.0.1 port={port} user=postgres sslmode=disable gssencmode=disable") as server:
                server.execute("SELECT 1")
            seen["00000"] += 1
        except psycopg.OperationalError:
            seen["refused"] += 1


def redis_gets(port, count, rate, misses):
    """GET, of which so many percent miss."""
    server = dial(port)
    lines = server.makefile("rb")
    server.sendall(b"SET there value\r\n")
    redis_reply(lines)
    for _ in paced(count, rate):
        server.sendall(b"GET gone\r\n" if random.random() * 100 < float(misses) else b"GET there\r\n")
        seen[redis_reply(lines)] += 1


def redis_cached(port, count, rate, keys):
    """An application with a cache of so many keys: what it misses it puts there."""
    server = dial(port)
    lines = server.makefile("rb")
    for _ in paced(count, rate):
        key = b"key:%d" % random.randint(1, int(keys))
        server.sendall(b"GET %s\r\n" % key)
        found = redis_reply(lines)
        seen[found] += 1
        if found == "nil":
            server.sendall(b"SET %s value\r\n" % key)
            seen[redis_reply(lines)] += 1


def redis_script(port, count, rate):
    """A script that fails where the key `bad` is set."""
    server = dial(port)
    lines = server.makefile("rb")
    script = b"if redis.call('EXISTS', 'bad') == 1 then return redis.error_reply('ERR broken') end return 1"
    for _ in paced(count, rate):
        server.sendall(b'EVAL "%s" 0\r\n' % script)
        seen[redis_reply(lines)] += 1


def tls_shared(port, count, rate, other):
    """A tenth of the connections to PORT, the rest to OTHER, which know nothing of each other's tickets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    session = None
    for _ in paced(count, rate):
        with dial(port if random.random() < 0.1 else int(other)) as plain:
            with context.wrap_socket(plain, session=session) as server:
                server.sendall(b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                while server.recv(65536):
                    pass
                session = server.session


def tls(port, count, version, kind):
    """A connection for each request; kind: full, resumed, or failed, for which the server has no version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, "TLSv" + version.replace(".", "_"))
    session = None
    for _ in range(count):
        with dial(port) as plain:
            try:
                with context.wrap_socket(plain, session=session if kind == "resumed" else None) as server:
                    server.sendall(b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    while server.recv(65536):
                        pass
                    seen["resumed" if server.session_reused else "full"] += 1
                    seen["data"] += 1
                    session = server.session
            except ssl.SSLError as error:
                seen["failed" if "ALERT" in str(error) else str(error)] += 1


KINDS = (postgresql, postgresql_login, postgresql_full, postgresql_held, postgresql_short, mysql, mysql_login, mysql_full, mysql_paced, memcached, redis_pipelined, redis_gets,
         redis_cached, redis_script, upgrade, interim, tls, tls_shared)
kind, port, count = sys.argv[1:4]
{function.__name__: function for function in KINDS}[kind](int(port), int(count), *sys.argv[4:])
for code, number in seen.items():
    print(code.replace(" ", "_"), number)
