// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/terminal.h"

#include <langinfo.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <clocale>
#include <csignal>
#include <cstdlib>
#include <string>

namespace slogate::cli {
namespace {

constexpr std::string_view kEnter = "\033[?1049h\033[?25l";  // other screen, no cursor
constexpr std::string_view kLeave = "\033[?25h\033[?1049l";
constexpr std::string_view kHome = "\033[H";
constexpr std::string_view kClearLine = "\033[K";
constexpr std::string_view kClearBelow = "\033[J";

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

// Signals that end the program, stop it or say that the window changed.
sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH})
    sigaddset(&set, number);
  return set;
}

}  // namespace

std::optional<WindowSize> window_size() {
  if (::isatty(STDOUT_FILENO) == 0) return std::nullopt;
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
    return WindowSize{80, 24};
  return WindowSize{size.ws_col, size.ws_row};
}

Style detect_style() {
  std::setlocale(LC_CTYPE, "");
  Style style{.utf8 = std::string_view(::nl_langinfo(CODESET)) == "UTF-8"};
  const auto window = window_size();
  if (!window) return style;
  const char* terminal = std::getenv("TERM");
  const bool dumb = terminal == nullptr || std::string_view(terminal) == "dumb";
  style.colour = !dumb && !is_set("NO_COLOR");
  style.width = window->columns;
  return style;
}

// Signals are read like input, so that nothing is cut off half-way and no handler is needed.
Screen::Screen() {
  const sigset_t set = watched_signals();
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  keyboard_ = ::tcgetattr(STDIN_FILENO, &before_) == 0;
  enter();
}

Screen::~Screen() {
  leave();
  const sigset_t set = watched_signals();
  ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

void Screen::enter() {
  write_all(kEnter);
  if (!keyboard_) return;
  termios quiet = before_;
  quiet.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
}

void Screen::leave() {
  if (keyboard_) ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  write_all(kLeave);
}

void Screen::show(std::string_view text) {
  std::string frame(kHome);
  for (const char c : text) {
    if (c == '\n') frame += kClearLine;
    frame += c;
  }
  // No line end after the last line, or the window would scroll.
  if (frame.ends_with('\n')) frame.pop_back();
  frame += kClearBelow;
  write_all(frame);
}

Key Screen::wait(std::chrono::milliseconds timeout) {
  pollfd ready[] = {{signals_.get(), POLLIN, 0}, {keyboard_ ? STDIN_FILENO : -1, POLLIN, 0}};
  if (::poll(ready, 2, static_cast<int>(timeout.count())) <= 0) return Key::None;
  return ready[0].revents != 0 ? read_signal() : read_key();
}

Key Screen::read_signal() {
  signalfd_siginfo info{};
  if (::read(signals_.get(), &info, sizeof info) != sizeof info) return Key::None;
  if (info.ssi_signo == SIGTSTP) pause();
  return info.ssi_signo == SIGTSTP || info.ssi_signo == SIGWINCH ? Key::Resized : Key::Quit;
}

Key Screen::read_key() {
  char key = 0;
  if (::read(STDIN_FILENO, &key, 1) != 1) {
    keyboard_ = false;  // closed
    return Key::None;
  }
  return key == 'q' || key == 'Q' ? Key::Quit : Key::None;
}

void Screen::pause() {
  leave();
  ::raise(SIGSTOP);
  enter();
}

}  // namespace slogate::cli
