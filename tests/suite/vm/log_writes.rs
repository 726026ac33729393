//! A disk that tells every write and every flush, and what it would hold had the power gone at one of them.
//!
//! The log is that of the kernel's dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst, and
//! drivers/md/dm-log-writes.c for its layout): a write is in it once it is done, before the first flush that covers it.

use std::{
    fs::File,
    ops::Range,
    os::{fd::AsFd as _, unix::fs::FileExt as _},
};

use nix::fcntl::{FallocateFlags, fallocate};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const SECTOR: u64 = 512;
const FLUSH: u64 = 1 << 0;
const DISCARD: u64 = 1 << 2;
const MARK: u64 = 1 << 3;

/// One line of the log.
#[derive(Debug)]
struct Entry {
    /// Where on the disk, in bytes.
    to: u64,
    length: u64,
    flags: u64,
    /// Where in the log what was written is.
    from: u64,
    mark: String,
}

/// A log that was read.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    entries: Vec<Entry>,
}

impl Log {
    pub(crate) fn read(disk: &File) -> Self {
        let file = disk.try_clone().unwrap();
        let [magic, version, count, sector_size] = words(&file, 0);
        assert_eq!((magic, version, sector_size & 0xffff_ffff), (MAGIC, VERSION, SECTOR), "not a log of dm-log-writes");
        let mut entries = Vec::new();
        let mut at = SECTOR;
        for _ in 0..count {
            let [sector, sectors, flags, mark] = words(&file, at);
            assert_eq!(flags & DISCARD, 0, "what a disk holds after a discard is not told");
            let mut text = vec![0; usize::try_from(mark).unwrap()];
            file.read_exact_at(&mut text, at + 32).unwrap();
            let mark = String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned();
            let (from, length) = (at + SECTOR, sectors * SECTOR);
            entries.push(Entry { to: sector * SECTOR, length, flags, from, mark });
            at = from + length;
        }
        Self { file, entries }
    }

    /// The flushes between two marks: all that stands before one in the log is on the disk when it is done.
    pub(crate) fn flushes(&self, between: Range<&str>) -> Vec<usize> {
        let position = |mark: &str| {
            let is_it = |entry: &Entry| entry.flags & MARK != 0 && entry.mark == mark;
            self.entries.iter().position(is_it).unwrap_or_else(|| panic!("no mark {mark:?} in the log"))
        };
        (position(between.start)..position(between.end)).filter(|&at| self.entries[at].flags & FLUSH != 0).collect()
    }

    /// Makes a disk what this one was when a flush was done.
    pub(crate) fn replay(&self, flush: usize, disk: &File) {
        let all = i64::try_from(disk.metadata().unwrap().len()).unwrap();
        fallocate(disk.as_fd(), FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, all).unwrap();
        for entry in &self.entries[..flush] {
            self.write(entry, disk);
        }
    }

    /// Adds every second one of the writes that came after the flush and before the next: of what was not flushed, a disk may
    /// have kept anything.
    pub(crate) fn replay_some_of_the_rest(&self, flush: usize, disk: &File) -> usize {
        let rest = self.entries[flush + 1..].iter().take_while(|entry| entry.flags & FLUSH == 0);
        let some: Vec<_> = rest.filter(|entry| entry.length > 0).skip(1).step_by(2).collect();
        for entry in &some {
            self.write(entry, disk);
        }
        some.len()
    }

    fn write(&self, entry: &Entry, disk: &File) {
        let mut bytes = vec![0; usize::try_from(entry.length).unwrap()];
        self.file.read_exact_at(&mut bytes, entry.from).unwrap();
        disk.write_all_at(&bytes, entry.to).unwrap();
    }
}

fn words(file: &File, at: u64) -> [u64; 4] {
    let mut bytes = [0; 32];
    file.read_exact_at(&mut bytes, at).unwrap();
    std::array::from_fn(|index| u64::from_le_bytes(std::array::from_fn(|byte| bytes[index * 8 + byte])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(log: &mut Vec<u8>, sector: u64, data: &[u8], flags: u64, mark: &str) {
        let sectors = u64::try_from(data.len()).unwrap() / SECTOR;
        let mark_length = u64::try_from(mark.len()).unwrap();
        let mut head: Vec<u8> = [sector, sectors, flags, mark_length].iter().flat_map(|word| word.to_le_bytes()).collect();
        head.extend(mark.as_bytes());
        head.resize(512, 0);
        log.extend(head);
        log.extend(data);
    }

    #[test]
    fn a_replayed_disk_holds_what_was_written_before_a_flush_and_nothing_else() {
        let mut log: Vec<u8> = [MAGIC, VERSION, 7, SECTOR].iter().flat_map(|word| word.to_le_bytes()).collect();
        log.resize(512, 0);
        entry(&mut log, 0, &[1; 512], 0, "");
        entry(&mut log, 0, &[], MARK, "before");
        entry(&mut log, 2, &[2; 1024], 0, "");
        entry(&mut log, 0, &[], FLUSH, "");
        entry(&mut log, 5, &[3; 512], 0, "");
        entry(&mut log, 6, &[4; 512], 0, "");
        entry(&mut log, 0, &[], MARK, "after");
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&log, 0).unwrap();
        let log = Log::read(&file);
        assert_eq!(log.flushes("before".."after"), [3]);

        let disk = tempfile::tempfile().unwrap();
        disk.write_all_at(&[9; 512 * 8], 0).unwrap();
        let sectors = || {
            let mut bytes = [0; 512 * 8];
            disk.read_exact_at(&mut bytes, 0).unwrap();
            bytes.chunks(512).map(|sector| sector[0]).collect::<Vec<_>>()
        };
        log.replay(3, &disk);
        assert_eq!(sectors(), [1, 0, 2, 2, 0, 0, 0, 0]);
        assert_eq!(log.replay_some_of_the_rest(3, &disk), 1);
        assert_eq!(sectors(), [1, 0, 2, 2, 0, 0, 4, 0]);
    }
}
