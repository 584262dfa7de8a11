// Files that are cut, changed or left by killed processes: the kernel is right all the same.
#include <signal.h>
#include <sys/wait.h>

#include <random>

#include "tests/cache/support.h"

namespace tessera {
namespace {

using namespace tessera::test;

struct Whole {
  std::string name, bytes;
};

std::vector<Whole> contents(const Folder& folder) {
  std::vector<Whole> out;
  for (const std::string& f : folder.files()) {
    if (f != "locks" && f != "pruned") out.push_back({f, read(folder / f)});
  }
  return out;
}

/// Reads what lies there through the layer that loads use; gives whether anything but the entry itself came back.
bool wrong(const Folder& folder, const std::string& name, const cache::Entry& whole) {
  cache::Store store(folder.path());
  const std::optional<cache::Entry> e = store.find(whole.kind, whole.key);
  if (e && *e != whole) return true;
  return !e && std::filesystem::exists(folder / name);  // what is broken goes
}

TEST(CacheFaults, CutAtEachByteAndEachByteChanged) {
  const Folder folder;
  ASSERT_TRUE(right(scale(fresh(folder.path()))));
  std::mt19937 random(1);
  std::size_t cases = 0;
  for (const Whole& w : contents(folder)) {
    const cache::Entry entry = *cache::decode(w.bytes);
    for (std::size_t n = 0; n < w.bytes.size(); ++n) {
      write(folder / w.name, w.bytes.substr(0, n));
      ASSERT_FALSE(wrong(folder, w.name, entry)) << w.name << " cut at " << n;
      for (int i = 0; i < 2; ++i) {
        std::string bad = w.bytes;
        bad[n] = static_cast<char>(bad[n] ^ (1 << random() % 8));
        write(folder / w.name, bad);
        ASSERT_FALSE(wrong(folder, w.name, entry)) << w.name << " changed at " << n;
      }
      cases += 3;
    }
    write(folder / w.name, w.bytes);
  }
  EXPECT_GE(cases, 5000u);
  std::printf("%zu faults\n", cases);
}

TEST(CacheFaults, KernelsFromDamagedFoldersAreRight) {
  const Folder folder;
  ASSERT_TRUE(right(scale(fresh(folder.path()))));
  const std::vector<Whole> whole = contents(folder);
  std::mt19937 random(2);
  for (int i = 0; i < 200; ++i) {
    for (const Whole& w : whole) {
      std::string bytes = w.bytes;
      switch (random() % 4) {
        case 0: bytes.resize(random() % bytes.size()); break;
        case 1: bytes[random() % bytes.size()] ^= static_cast<char>(1 << random() % 8); break;
        case 2: bytes = whole[random() % whole.size()].bytes; break;  // another entry under this name
        default: break;
      }
      write(folder / w.name, bytes);
    }
    ASSERT_TRUE(right(scale(fresh(folder.path())))) << i;
  }
}

TEST(CacheFaults, EntriesThatLieUnderARightChecksumDoNotCrash) {
  const Folder folder;
  ASSERT_TRUE(right(scale(fresh(folder.path()))));
  const std::vector<Whole> whole = contents(folder);
  std::mt19937 random(3);
  for (int i = 0; i < 200; ++i) {
    for (const Whole& w : whole) {
      cache::Entry e = *cache::decode(w.bytes);
      if (e.sections.empty() || random() % 2) continue;
      cache::Section& s = e.sections[random() % e.sections.size()];
      if (s.tag == "elf ") continue;  // machine code is trusted once its checksum is right
      if (random() % 2)
        e.sections.erase(e.sections.begin() + static_cast<std::ptrdiff_t>(random() % e.sections.size()));
      else if (s.tag == "meta" || s.tag == "head")
        s.bytes.resize(s.bytes.size() / 2);
      else if (!s.bytes.empty())
        s.bytes[random() % s.bytes.size()] ^= 64;
      if (s.tag == "key " || s.tag == "span" || s.tag == "inpl" || s.tag == "mods" || s.tag == "meta" || s.tag == "head")
        write(folder / w.name, cache::encode(e));
    }
    ASSERT_TRUE(right(scale(fresh(folder.path())))) << i;
    for (const Whole& w : whole) write(folder / w.name, w.bytes);
  }
}

TEST(CacheFaults, KilledAtAnyMoment) {
  const Folder folder;
  std::mt19937 random(4);
  int killed = 0;
  for (int i = 0; i < 120; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int n = 1; n < 100; ++n) scale(fresh(folder.path()), 8 * (1 + (n + i) % 40));
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(random() % 30000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    killed += WIFSIGNALED(status);
    const std::int64_t n = 8 * static_cast<std::int64_t>(1 + random() % 40);
    if (i % 4 == 0) {
      ASSERT_TRUE(right(scale(fresh(folder.path()), n), n)) << i;
    }
    // Whatever is there under its name is whole.
    for (const Whole& w : contents(folder)) {
      ASSERT_TRUE(w.name.starts_with("tmp-") || cache::decode(w.bytes)) << w.name;
    }
  }
  EXPECT_GT(killed, 100);
  EXPECT_TRUE(fresh(folder.path()).verify().empty());
}

}  // namespace
}  // namespace tessera
