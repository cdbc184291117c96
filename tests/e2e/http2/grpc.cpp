// SPDX-License-Identifier: Apache-2.0
// A server and a client of gRPC, both of grpc++, for http2.sh. It is built there: nobody else needs
// the library.
//
//   grpc serve PORT
//   grpc ask PORT NUMBER CONCURRENT KIND METHOD...
//
// Methods are those of grpc.go: /answer/CODE, /late/CODE, /never/0; KIND is `get`, or `upload`, of
// 400 kB. Prints `CODE NUMBER` for each grpc-status that the client saw.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace {

// ---- server ----

class Call final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Call(const std::string& method)
      : what_(method.substr(1, method.find('/', 1) - 1)),
        code_(std::stoi(method.substr(method.find('/', 1) + 1))) {
    StartRead(&in_);
  }

 private:
  void OnReadDone(bool) override {
    if (what_ == "late") return StartSendInitialMetadata();
    if (what_ == "answer") end();
  }
  void OnSendInitialMetadataDone(bool) override { end(); }
  void OnCancel() override {
    if (what_ == "never") Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override { delete this; }
  void end() {
    if (code_ != 0) return Finish({static_cast<grpc::StatusCode>(code_), "as asked"});
    StartWriteAndFinish(&out_, {}, grpc::Status::OK);
  }

  const std::string what_;
  const int code_;
  grpc::ByteBuffer in_;
  const grpc::Slice nothing_{""};
  const grpc::ByteBuffer out_{&nothing_, 1};
};

class Service final : public grpc::CallbackGenericService {
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    return new Call(context->method());
  }
};

int serve(const std::string& address) {
  Service service;
  const auto server = grpc::ServerBuilder()
                          .AddListeningPort(address, grpc::InsecureServerCredentials())
                          .RegisterCallbackGenericService(&service)
                          .BuildAndStart();
  if (!server) return 1;
  server->Wait();
  return 0;
}

// ---- client ----

struct Attempt {
  grpc::ClientContext context;
  grpc::ByteBuffer in, out;
};

class Client {
 public:
  Client(const std::string& address, std::string_view kind, std::vector<std::string> methods)
      : stub_(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())),
        body_(std::string(kind == "upload" ? 400'000 : 0, 'x')),
        methods_(std::move(methods)) {}

  void run(int number, int concurrent) {
    std::unique_lock lock(mutex_);
    for (int begun = 0; begun < number; ++begun) {
      changed_.wait(lock, [&] { return open_ < concurrent; });
      ++open_;
      lock.unlock();
      begin(methods_[static_cast<size_t>(begun) % methods_.size()]);
      lock.lock();
    }
    changed_.wait(lock, [&] { return open_ == 0; });
    for (const auto& [code, times] : seen_) std::printf("%d %d\n", code, times);
  }

 private:
  void begin(const std::string& method) {
    auto* attempt = new Attempt{{}, {&body_, 1}, {}};
    stub_.UnaryCall(&attempt->context, method, {}, &attempt->in, &attempt->out,
                    [this, attempt](const grpc::Status& status) {
                      const std::lock_guard guard(mutex_);
                      ++seen_[status.error_code()];
                      --open_;
                      changed_.notify_one();
                      delete attempt;
                    });
  }

  grpc::GenericStub stub_;
  const grpc::Slice body_;
  const std::vector<std::string> methods_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, int> seen_;
  int open_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 2) return 2;
  const std::string address = "127.0.0.1:" + words[1];
  if (words[0] == "serve") return serve(address);
  if (words.size() < 6) return 2;
  Client(address, words[4], {words.begin() + 5, words.end()})
      .run(std::stoi(words[2]), std::stoi(words[3]));
}
