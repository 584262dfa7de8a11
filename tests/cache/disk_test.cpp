// The folder: trouble of every kind, who may use it, how it is pruned, who waits for whom.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <thread>

#include "tests/cache/support.h"

namespace tessera {
namespace {

using namespace tessera::test;
using namespace std::chrono_literals;
using cache::Disk;
using cache::FileCalls;
using ::testing::HasSubstr;

/// Fails the n-th call and all later ones of one kind with an error number; a write may come before it with half of its bytes.
class Failing : public FileCalls {
 public:
  enum Call { Open, Read, Write, Close, Rename, Unlink };
  Failing(Call call, int after, int reason) : call_(call), left_(after), reason_(reason) {}
  long open(const char* p, int f, mode_t m) override { return fails(Open) ? -reason_ : FileCalls::open(p, f, m); }
  long read(int fd, void* to, std::size_t n) override { return fails(Read) ? -reason_ : FileCalls::read(fd, to, std::max<std::size_t>(n / 2, 1)); }
  long write(int fd, const void* from, std::size_t n) override {
    return fails(Write) ? -reason_ : FileCalls::write(fd, from, std::max<std::size_t>(n / 2, 1));
  }
  long close(int fd) override {
    const long r = FileCalls::close(fd);
    return fails(Close) ? -reason_ : r;
  }
  long rename(const char* a, const char* b) override { return fails(Rename) ? -reason_ : FileCalls::rename(a, b); }
  long unlink(const char* p) override { return fails(Unlink) ? -reason_ : FileCalls::unlink(p); }

 private:
  bool fails(Call call) { return call == call_ && left_-- <= 0; }
  Call call_;
  int left_, reason_;
};

TEST(CacheDisk, WhatIsWrittenIsRead) {
  const Folder folder;
  Disk disk(folder / "new/folders", {}, {});
  EXPECT_FALSE(disk.read("a"));
  EXPECT_TRUE(disk.usable());
  disk.write("a", "bytes");
  EXPECT_EQ(disk.read("a"), "bytes");
  disk.write("a", "others");
  EXPECT_EQ(disk.read("a"), "others");
  disk.write("empty", "");
  EXPECT_EQ(disk.read("empty"), "");
  disk.remove("a");
  disk.remove("a");
  EXPECT_FALSE(disk.read("a"));
  struct stat s{};
  ASSERT_EQ(::stat((folder / "new").c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 0777, 0700u);
}

/// Whatever call fails, at whatever moment, with whatever reason: the kernel computes what it should, and one warning is given.
TEST(CacheDisk, TroubleOfEveryKind) {
  int cases = 0;
  for (const Failing::Call call : {Failing::Open, Failing::Read, Failing::Write, Failing::Close, Failing::Rename, Failing::Unlink}) {
    for (const int reason : {ENOSPC, EIO, ESTALE, EROFS, EACCES, EMFILE, EDQUOT}) {
      for (int after = 0; after < 12; after += after < 4 ? 1 : 4) {
        for (const bool warm : {false, true}) {
          const Folder folder;
          if (warm) scale(fresh(folder.path()));
          int warnings = 0;
          std::string text;
          const Cache cache = fresh(folder.path(), std::make_shared<Failing>(call, after, reason), [&](const std::string& t) {
            ++warnings;
            text = t;
          });
          ASSERT_TRUE(right(scale(cache))) << call << " " << reason << " " << after;
          ASSERT_TRUE(right(scale(cache)));
          EXPECT_LE(warnings, 1);
          EXPECT_TRUE(!warnings || text.find(folder.path()) != std::string::npos) << text;
          // What remains serves or is made again.
          ASSERT_TRUE(cases++ % 8 != 0 || right(scale(fresh(folder.path()))));
        }
      }
    }
  }
  RecordProperty("cases", cases);
}

TEST(CacheDisk, NoSpaceLeavesNoHalves) {
  const Folder folder;
  std::string warning;
  const Cache cache = fresh(folder.path(), std::make_shared<Failing>(Failing::Write, 1, ENOSPC), [&](const std::string& t) { warning = t; });
  EXPECT_TRUE(right(scale(cache)));
  EXPECT_THAT(warning, HasSubstr("No space left on device"));
  EXPECT_THAT(folder.files("tmp"), ::testing::IsEmpty());
  for (const std::string& f : folder.files()) EXPECT_FALSE(f.starts_with("tmp-")) << f;
}

TEST(CacheDisk, AFolderOthersCanWriteToIsNotUsed) {
  const Folder folder;
  scale(fresh(folder.path()));
  ASSERT_FALSE(folder.files(".kernel").empty());
  for (const mode_t mode : {0720, 0702, 0777}) {
    ::chmod(folder.path().c_str(), mode);
    std::string warning;
    const Cache cache = fresh(folder.path(), std::make_shared<FileCalls>(), [&](const std::string& t) { warning = t; });
    EXPECT_TRUE(right(scale(cache)));
    EXPECT_EQ(cache.counts().from_disk, 0u);
    EXPECT_THAT(warning, HasSubstr("others can write to it"));
  }
  ::chmod(folder.path().c_str(), 0700);
  // Nor is a file of it that others can write to, or that is a link.
  for (const std::string& f : folder.files(".kernel")) ::chmod((folder / f).c_str(), 0622);
  const Cache cache = fresh(folder.path());
  EXPECT_TRUE(right(scale(cache)));
  EXPECT_EQ(cache.counts().from_disk, 0u);
  EXPECT_EQ(cache.counts().compiled, 1u);
}

TEST(CacheDisk, WhatIsNoFolderIsNotUsed) {
  const Folder folder;
  write(folder / "file", "text");
  for (const std::string& path : {folder / "file", folder / "file/below", std::string("/proc/tessera/none")}) {
    std::string warning;
    const Cache cache = fresh(path, std::make_shared<FileCalls>(), [&](const std::string& t) { warning = t; });
    EXPECT_TRUE(right(scale(cache)));
    EXPECT_THAT(warning, HasSubstr("is not used"));
  }
}

void set_age(const std::string& path, std::chrono::seconds age) {
  std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() - age);
}

TEST(CacheDisk, PrunedByAgeAndSize) {
  const Folder folder;
  Disk disk(folder.path(), {.bytes = 3000, .age = 1000h}, {});
  for (int i = 0; i < 6; ++i) {
    const std::string name = "f" + std::to_string(i);
    disk.write(name, std::string(900, 'x'));
    set_age(folder / name, (6 - i) * 1h);
  }
  set_age(folder / "f5", 2000h);
  disk.prune();
  std::set<std::string> left;
  for (const cache::File& f : disk.files()) left.insert(f.name);
  EXPECT_EQ(left, (std::set<std::string>{"f2", "f3", "f4"}));
  write(folder / "tmp-1-dead", "half");
  write(folder / "tmp-2-alive", "half");
  set_age(folder / "tmp-1-dead", 2h);
  disk.prune();
  EXPECT_FALSE(std::filesystem::exists(folder / "tmp-1-dead"));
  EXPECT_TRUE(std::filesystem::exists(folder / "tmp-2-alive"));
}

TEST(CacheDisk, AClockThatJumps) {
  const Folder folder;
  scale(fresh(folder.path()));
  // Back by years, and forward: entries serve or are made again; the time of pruning is not put off.
  for (const auto jump : {-100000h, 100000h, 0h}) {
    for (const std::string& f : folder.files()) set_age(folder / f, jump);
    const Cache cache = fresh(folder.path(), std::make_shared<FileCalls>(), {}, {.pause = 0s});
    EXPECT_TRUE(right(scale(cache)));
    EXPECT_TRUE(right(scale(cache, 24), 24));
    EXPECT_TRUE(right(scale(cache, 8)));
  }
  Disk disk(folder.path(), {}, {});
  EXPECT_FALSE(disk.files().empty());
}

TEST(CacheDisk, UseKeepsAnEntryYoung) {
  const Folder folder;
  Disk disk(folder.path(), {.age = 100h, .pause = 0s}, {});
  disk.write("used", "x");
  disk.write("unused", "x");
  for (const char* name : {"used", "unused"}) set_age(folder / name, 90h);
  disk.read("used");
  set_age(folder / "unused", 110h);
  disk.prune();
  EXPECT_TRUE(disk.read("used"));
  EXPECT_FALSE(disk.read("unused"));
}

TEST(CacheDisk, ClaimsExcludeEachOther) {
  const Folder folder;
  Disk a(folder.path(), {}, {}), b(folder.path(), {}, {});
  const cache::Key key = cache::hash("a"), other = cache::hash("b");
  std::atomic<int> inside = 0, most = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const Disk::Claim claim = (t % 2 ? a : b).claim(key);
        most = std::max(most.load(), ++inside);
        std::this_thread::yield();
        --inside;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(most, 1);
  // Another key does not wait; the same one no longer than it has patience.
  const Disk::Claim held = a.claim(key);
  const auto start = std::chrono::steady_clock::now();
  const Disk::Claim free = b.claim(other), impatient = b.claim(key, 30ms);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
}

}  // namespace
}  // namespace tessera
