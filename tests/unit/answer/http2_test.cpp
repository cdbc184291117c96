// SPDX-License-Identifier: Apache-2.0
// Frames of HTTP/2 and blocks of headers, whole and cut anywhere.
#include "tests/support/http2.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/frames.h"

namespace slogate {
namespace {

using namespace frames;

// A connection of which one direction is followed, from a sequence number that wraps on the way.
class Walk {
 public:
  explicit Walk(bool answers) : answers_(answers) { conn_->in.next = sequence_; }

  // One piece; what it came upon, a word each.
  std::string take(const std::string& piece) {
    http2_walk walk{};
    walk.begin = sequence_;
    walk.end = sequence_ += static_cast<__u32>(piece.size());
    walk.answers = answers_;
    FrameBytes bytes{piece.data(), piece.size()};
    if (conn_->in.lost != 0) http2_resume(&bytes, conn_.get(), &walk);
    std::string seen;
    while (http2_step(&bytes, conn_.get(), &walk) != 0) seen += word(walk);
    return seen;
  }
  // The same in pieces of `n` bytes.
  std::string take_cut(const std::string& bytes, size_t n) {
    std::string seen;
    for (size_t at = 0; at < bytes.size(); at += n) seen += take(bytes.substr(at, n));
    return seen;
  }
  void miss(__u32 bytes) { sequence_ += bytes; }
  slogate_http2& conn() { return *conn_; }

 private:
  static std::string word(const http2_walk& walk) {
    const std::string stream = std::to_string(walk.stream), end = walk.ends != 0 ? "." : "";
    switch (walk.event) {
      case HTTP2_asked:
        return "ask" + stream + end + " ";
      case HTTP2_said:
        return "say" + stream + end + ":" + std::to_string(walk.status) +
               (walk.grpc != 0 ? "/" + std::to_string(walk.grpc - 1) : "") + " ";
      case HTTP2_data:
        return "data" + stream + end + " ";
      case HTTP2_reset:
        return "reset" + stream + "=" + std::to_string(walk.code) + " ";
      case HTTP2_goaway:
        return "goaway" + stream + "=" + std::to_string(walk.code) + " ";
      default:
        return "";
    }
  }

  bool answers_;
  __u32 sequence_ = 0xffffffb0;
  std::unique_ptr<slogate_http2> conn_ = std::make_unique<slogate_http2>();
};

std::string say(uint32_t stream, const std::string& block, unsigned flags = EndHeaders) {
  return frame(Headers, flags, stream, block);
}

struct Case {
  const char* name;
  std::string bytes, seen;
};

const std::string kHuffmanGrpc("\x40\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f", 10);

const std::vector<Case>& answers() {
  static const std::vector<Case> cases = {
      {"static statuses",
       say(1, indexed(kStatus200)) + say(3, indexed(kStatus404)) +
           say(5, indexed(kStatus500), EndHeaders | EndStream),
       "say1:200 say3:404 say5.:500 "},
      {"the other static ones",
       say(1, indexed(9)) + say(1, indexed(10)) + say(1, indexed(11)) + say(1, indexed(12)),
       "say1:204 say1:206 say1:304 say1:400 "},
      {"a literal that is not kept", say(1, literal(kStatus, "503")), "say1:503 "},
      {"one whose name is written out", say(1, literal(":status", "429")), "say1:429 "},
      {"Huffman's digits", say(1, std::string("\x48\x82\x64\x02", 4)), "say1:302 "},
      {"one that is kept, and its index",
       say(1, entered(kStatus, "503")) + say(3, indexed(kLatest)), "say1:503 say3:503 "},
      {"an index that has moved on",
       say(1, entered(kStatus, "503") + entered("x", "y") + entered(kContentType, "text/html")) +
           say(3, indexed(kLatest + 2) + indexed(kLatest)),
       "say1:503 say3:503 "},
      {"a name by a dynamic index",
       say(1, entered(kStatus, "503")) + say(3, integer(kLatest, 6, 0x40) + plain("504")) +
           say(5, indexed(kLatest)),
       "say1:503 say3:504 say5:504 "},
      {"the table's size changes",
       say(1, integer(0, 5, 0x20) + integer(4096, 5, 0x20) + indexed(kStatus200)), "say1:200 "},
      {"trailers of gRPC",
       say(1, indexed(kStatus200) + entered(kContentType, "application/grpc")) +
           frame(Data, None, 1, "hello") +
           say(1, entered("grpc-status", "0") + entered("grpc-message", ""),
               EndHeaders | EndStream) +
           say(3, indexed(kStatus200) + indexed(kLatest + 2)) +
           say(3, indexed(kLatest + 1), EndHeaders | EndStream),
       "say1:200 say1.:0/0 say3:200 say3.:0/0 "},
      {"trailers only, in Huffman's code",
       say(1,
           indexed(kStatus200) + kHuffmanGrpc +
               std::string("\x01"
                           "5",
                           2) +
               "\x7e\x02\x31\x33",
           EndHeaders | EndStream),
       "say1.:200/13 "},
      {"padding and priority",
       frame(Headers, EndHeaders | Padded | WithPriority, 1,
             std::string(1, '\x03') + number(0, 4) + "\x10" + indexed(kStatus404) + "xxx") +
           say(3, indexed(kStatus200)),
       "say1:404 say3:200 "},
      {"CONTINUATION",
       frame(Headers, EndStream, 1, entered(kStatus, "50").substr(0, 3)) +
           frame(Continuation, None, 1, "") + frame(Continuation, None, 1, "0") +
           frame(Continuation, EndHeaders, 1, entered("a", "b")) + say(3, indexed(kLatest + 1)),
       "say1.:50 say3:50 "},
      {"a promise counts for the table",
       say(1, indexed(kStatus200)) +
           frame(Push, EndHeaders, 1, number(2, 4) + entered(kStatus, "503")) +
           say(3, indexed(kLatest)),
       "say1:200 say3:503 "},
      {"reset and goaway", reset(7, 8) + goaway(5, 11) + goaway(0x7fffffff, 0),
       "reset7=8 goaway5=11 goaway2147483647=0 "},
      {"what says nothing",
       settings() + frame(Ping, None, 0, "12345678") + frame(Window, None, 1, number(1, 4)) +
           frame(static_cast<Type>(0x0b + 31), None, 0, "grease") +
           frame(Priority, None, 1, number(0, 4) + "\x01") + frame(Data, EndStream, 1, ""),
       "data1. "},
      {"long fields",
       say(1, indexed(kStatus200) + entered("cookie", std::string(5000, 'c')) +
                  entered(std::string(300, 'n'), "v") + entered(kStatus, "418")) +
           say(3, indexed(kLatest)),
       "say1:418 say3:418 "},
      {"seventeen statuses, of which sixteen are remembered",
       [] {
         std::string all;
         for (uint32_t i = 0; i < 17; ++i) all += say(1, entered(kStatus, std::to_string(400 + i)));
         return all + say(3, indexed(kLatest + 15)) + say(5, indexed(kLatest + 16));
       }(),
       [] {
         std::string all;
         for (int i = 0; i < 17; ++i) all += "say1:" + std::to_string(400 + i) + " ";
         return all + "say3:401 say5:0 ";
       }()},
  };
  return cases;
}

TEST(Http2, AnswersInOnePiece) {
  for (const Case& one : answers()) EXPECT_EQ(Walk(true).take(one.bytes), one.seen) << one.name;
}

TEST(Http2, AnswersCutAnywhere) {
  for (const Case& one : answers())
    for (const size_t n : {1, 2, 3, 5, 7, 9, 13, 100, 191, 193})
      EXPECT_EQ(Walk(true).take_cut(one.bytes, n), one.seen) << one.name << " by " << n;
}

TEST(Http2, Requests) {
  const std::string bytes =
      get(1) + frame(Headers, EndHeaders, 3, indexed(kPost)) +
      frame(Data, None, 3, std::string(400, 'u')) + frame(Data, EndStream, 3, "") +
      frame(Headers, EndStream | Padded, 5, std::string("\x02", 1) + indexed(kGet) + "xx") +
      frame(Continuation, EndHeaders, 5, indexed(4)) + reset(5, 8);
  const std::string seen = "ask1. ask3 data3 data3. ask5. reset5=8 ";
  EXPECT_EQ(Walk(false).take(bytes), seen);
  for (const size_t n : {1, 4, 9, 10, 14}) EXPECT_EQ(Walk(false).take_cut(bytes, n), seen) << n;
}

TEST(Http2, WhatComesTwiceIsSeenOnce) {
  Walk walk(false);
  EXPECT_EQ(walk.take(get(1)), "ask1. ");
  walk.miss(-static_cast<__u32>(get(1).size()));
  EXPECT_EQ(walk.take(get(1) + get(3)), "ask3. ");
}

TEST(Http2, WhatIsMissedIsKnown) {
  Walk walk(false);
  EXPECT_EQ(walk.take(get(1)), "ask1. ");
  walk.conn().last = 1;
  walk.miss(100);
  EXPECT_EQ(walk.take("no frame"), "");
  EXPECT_EQ(walk.conn().in.lost, 1);
  EXPECT_EQ(walk.take(frame(Data, None, 1, "x")), "") << "goes on at HEADERS only";
  EXPECT_EQ(walk.take(get(1)), "") << "and of a new stream";
  EXPECT_EQ(walk.take(get(20001)), "") << "that is not far away";
  EXPECT_EQ(walk.take(get(7) + get(9)), "ask7. ask9. ");
  EXPECT_EQ(walk.conn().in.lost, 0);
}

TEST(Http2, TableIsUnknownAfterAGap) {
  Walk walk(true);
  walk.conn().last = 99;
  EXPECT_EQ(walk.take(say(1, entered(kStatus, "503"))), "say1:503 ");
  walk.miss(50);
  walk.take("?");
  EXPECT_EQ(walk.take(say(3, indexed(kLatest)) + say(5, indexed(kStatus200)) +
                      say(7, entered(kStatus, "404")) + say(9, indexed(kLatest))),
            "say3:0 say5:200 say7:404 say9:404 ");
}

TEST(Http2, WhatIsNoFrameEndsTheFollowing) {
  const std::vector<Case> cases = {
      {"a type that nobody has", frame(static_cast<Type>(77), None, 0, ""), ""},
      {"more padding than there is",
       frame(Headers, EndHeaders | Padded, 1,
             "\x09"
             "abc"),
       ""},
      {"a RST_STREAM without a code", frame(Reset, None, 1, "abc"), ""},
      {"CONTINUATION of nothing", frame(Continuation, EndHeaders, 1, "abc"), ""},
      {"a block that is interrupted", frame(Headers, None, 1, "") + frame(Data, None, 1, ""), ""},
      {"a block that ends within a field",
       say(1, std::string("\x48\x03"
                          "20",
                          4)),
       ""},
      {"an integer without an end", say(1, std::string("\xff\xff\xff\xff\xff\xff\x01", 7)), ""},
  };
  for (const Case& one : cases) {
    Walk walk(true);
    EXPECT_EQ(walk.take(one.bytes), one.seen) << one.name;
    EXPECT_EQ(walk.conn().in.lost, 1) << one.name;
  }
}

TEST(Http2, Preface) {
  const auto is_preface = [](std::string_view text) {
    FrameBytes bytes{text.data(), text.size()};
    return http2_is_preface(&bytes, static_cast<__u32>(text.size()));
  };
  EXPECT_TRUE(is_preface(kPreface));
  EXPECT_TRUE(is_preface(kPreface + settings()));
  EXPECT_FALSE(is_preface("PRI * HTTP/2.0\r"));
  EXPECT_FALSE(is_preface("GET / HTTP/1.1\r\n\r\n"));
}

}  // namespace
}  // namespace slogate
