// Many processes and threads that find the same folder empty.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <thread>

#include "tests/cache/support.h"

namespace tessera {
namespace {

using namespace tessera::test;

/// Writes down which kernels appear: one line each, in a file that all processes append to.
class Noting : public cache::FileCalls {
 public:
  explicit Noting(const std::string& path) : fd_(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT, 0600)) {}
  ~Noting() override { ::close(fd_); }
  long rename(const char* from, const char* to) override {
    const std::string line = std::string(to) + "\n";
    if (line.ends_with(".kernel\n") && ::write(fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) return -EIO;
    return FileCalls::rename(from, to);
  }

 private:
  int fd_;
};

TEST(CacheRace, EachKernelIsCompiledTwiceAtMost) {
  constexpr int processes = 32, threads = 4, kernels = 20;
  const Folder folder, notes;
  std::vector<pid_t> children;
  for (int p = 0; p < processes; ++p) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child > 0) {
      children.push_back(child);
      continue;
    }
    std::atomic<int> bad = 0;
    {
      const Cache cache = fresh(folder.path(), std::make_shared<Noting>(notes / "compiled"));
      std::vector<std::thread> team;
      for (int t = 0; t < threads; ++t) {
        team.emplace_back([&, t] {
          try {
            for (int k = 0; k < kernels; ++k) {
              const std::int64_t n = 8 * (1 + (k + 5 * t) % kernels);
              if (!right(scale(cache, n), n)) ++bad;
            }
          } catch (...) {
            ++bad;
          }
        });
      }
      for (std::thread& t : team) t.join();
    }
    ::_exit(bad == 0 ? 0 : 1);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  std::map<std::string, int> compiled;
  std::istringstream lines(read(notes / "compiled"));
  for (std::string line; std::getline(lines, line);) ++compiled[line];
  EXPECT_EQ(compiled.size(), static_cast<std::size_t>(kernels));
  for (const auto& [name, times] : compiled) EXPECT_LE(times, 2) << name;
  EXPECT_TRUE(fresh(folder.path()).verify().empty());
}

}  // namespace
}  // namespace tessera
