/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Buckets of every latency histogram: Prometheus's native-histogram schema 3. Upper edges are
 * 2^(k/8) seconds, edge included, for k = SLOGATE_EDGE_FIRST .. SLOGATE_EDGE_LAST (about 1 us to
 * 64 s), so that export is exact and a quantile within 4.5 %. Bucket 0 also takes everything
 * faster, the last bucket everything slower.
 *
 * Compiled for BPF and for C++. https://prometheus.io/docs/specs/native_histograms/#schema
 */
#ifndef SLOGATE_HISTOGRAM_H
#define SLOGATE_HISTOGRAM_H

#define SLOGATE_EDGE_FIRST (-160)
#define SLOGATE_EDGE_LAST 48
#define SLOGATE_EDGES (SLOGATE_EDGE_LAST - SLOGATE_EDGE_FIRST + 1)
#define SLOGATE_BUCKETS (SLOGATE_EDGES + 1)

/* floor(1e9 * 2^(k/8)) ns. tests/unit/maps/histogram_test.cpp computes each of them again. */
static const __u64 slogate_edge_ns[SLOGATE_EDGES] = {
    953u,           1039u,          1134u,          1236u,          1348u,          1470u,
    1603u,          1749u,          1907u,          2079u,          2268u,          2473u,
    2697u,          2941u,          3207u,          3498u,          3814u,          4159u,
    4536u,          4947u,          5394u,          5883u,          6415u,          6996u,
    7629u,          8319u,          9072u,          9894u,          10789u,         11766u,
    12831u,         13992u,         15258u,         16639u,         18145u,         19788u,
    21579u,         23532u,         25662u,         27984u,         30517u,         33279u,
    36291u,         39576u,         43158u,         47064u,         51324u,         55969u,
    61035u,         66559u,         72583u,         79152u,         86316u,         94129u,
    102648u,        111938u,        122070u,        133118u,        145166u,        158305u,
    172633u,        188258u,        205296u,        223877u,        244140u,        266237u,
    290333u,        316611u,        345266u,        376516u,        410593u,        447755u,
    488281u,        532474u,        580667u,        633222u,        690533u,        753032u,
    821187u,        895511u,        976562u,        1064948u,       1161335u,       1266444u,
    1381067u,       1506065u,       1642375u,       1791023u,       1953125u,       2129897u,
    2322670u,       2532889u,       2762135u,       3012130u,       3284751u,       3582047u,
    3906250u,       4259795u,       4645340u,       5065779u,       5524271u,       6024261u,
    6569503u,       7164094u,       7812500u,       8519591u,       9290680u,       10131559u,
    11048543u,      12048522u,      13139006u,      14328188u,      15625000u,      17039183u,
    18581361u,      20263118u,      22097086u,      24097044u,      26278012u,      28656376u,
    31250000u,      34078366u,      37162722u,      40526236u,      44194173u,      48194088u,
    52556025u,      57312752u,      62500000u,      68156733u,      74325444u,      81052472u,
    88388347u,      96388176u,      105112051u,     114625505u,     125000000u,     136313466u,
    148650889u,     162104944u,     176776695u,     192776353u,     210224103u,     229251010u,
    250000000u,     272626933u,     297301778u,     324209888u,     353553390u,     385552706u,
    420448207u,     458502021u,     500000000u,     545253866u,     594603557u,     648419777u,
    707106781u,     771105412u,     840896415u,     917004043u,     1000000000u,    1090507732u,
    1189207115u,    1296839554u,    1414213562u,    1542210825u,    1681792830u,    1834008086u,
    2000000000u,    2181015465u,    2378414230u,    2593679109u,    2828427124u,    3084421650u,
    3363585661u,    3668016172u,    4000000000u,    4362030930ull,  4756828460ull,  5187358218ull,
    5656854249ull,  6168843301ull,  6727171322ull,  7336032345ull,  8000000000ull,  8724061861ull,
    9513656920ull,  10374716437ull, 11313708498ull, 12337686603ull, 13454342644ull, 14672064691ull,
    16000000000ull, 17448123722ull, 19027313840ull, 20749432874ull, 22627416997ull, 24675373206ull,
    26908685288ull, 29344129382ull, 32000000000ull, 34896247445ull, 38054627680ull, 41498865748ull,
    45254833995ull, 49350746413ull, 53817370576ull, 58688258765ull, 64000000000ull,
};

/*
 * Nanoseconds do not start on an edge (8 * log2(1e9) = 239.18), but within every octave of ns the
 * edges lie at the same eight places. For each sixteenth of an octave: how many of them are below,
 * four bits each, the first sixteenth's lowest.
 */
#define SLOGATE_EDGES_BELOW 0x8877665554332210ull

/* The bucket of a duration in ns: the first whose upper edge is not below it. */
static inline __attribute__((always_inline)) __u32 slogate_bucket(__u64 ns) {
  if (ns <= slogate_edge_ns[0]) return 0;
  if (ns > slogate_edge_ns[SLOGATE_EDGES - 1]) return SLOGATE_BUCKETS - 1;

  /* Here 2^9 < ns < 2^36. BPF has no instruction for the highest set bit. */
  __u32 rest = (__u32)(ns >> 9), octave = 9;
  if (rest >> 16) rest >>= 16, octave += 16;
  if (rest >> 8) rest >>= 8, octave += 8;
  if (rest >> 4) rest >>= 4, octave += 4;
  if (rest >> 2) rest >>= 2, octave += 2;
  octave += rest >> 1;

  /* The first edge stands in octave 9 with seven places below it. A sixteenth of an octave is
   * narrower than a bucket and so holds one edge at the most: one comparison settles it. */
  __u32 sixteenth = (ns >> (octave - 4)) & 15;
  __u32 bucket = 8 * (octave - 9) + ((__u32)(SLOGATE_EDGES_BELOW >> (4 * sixteenth)) & 15) - 7;
  if (bucket >= SLOGATE_EDGES) return SLOGATE_BUCKETS - 1; /* never; for the verifier */
  return bucket + (ns > slogate_edge_ns[bucket]);
}

#endif
