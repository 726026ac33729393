//! How far downloads are: each of them, all together, how fast, and how long it will take.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use indicatif::{BinaryBytes, HumanDuration};

use super::Event;
use crate::model::Component;

/// The downloads of a run.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    downloads: BTreeMap<Component, Download>,
    begun: Option<Instant>,
    told: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Download {
    bytes: u64,
    /// What was there before this run.
    resumed: Option<u64>,
    total: Option<u64>,
    done: bool,
}

impl Transfers {
    /// Takes note of an event.
    pub(super) fn account(&mut self, event: &Event, now: Instant) {
        match event {
            Event::FetchStarted { component, total, .. } => {
                self.begun.get_or_insert(now);
                self.told.get_or_insert(now);
                let download = self.downloads.entry(*component).or_default();
                (download.total, download.done) = (*total, false);
            }
            Event::FetchProgress { component, bytes, total } => {
                let download = self.downloads.entry(*component).or_default();
                download.resumed.get_or_insert(*bytes);
                (download.bytes, download.total) = (*bytes, total.or(download.total));
            }
            Event::Fetched { component, .. } => {
                if let Some(download) = self.downloads.get_mut(component) {
                    download.done = true;
                    download.bytes = download.total.unwrap_or(download.bytes);
                }
            }
            _ => {}
        }
    }

    /// Bytes that are there and bytes in all of the downloads of this run; no total where a source does not tell it.
    pub(super) fn overall(&self) -> (u64, Option<u64>) {
        let bytes = self.downloads.values().map(|download| download.bytes).sum();
        (bytes, self.downloads.values().map(|download| download.total).sum())
    }

    /// How many are under way.
    pub(super) fn under_way(&self) -> usize {
        self.downloads.values().filter(|download| !download.done).count()
    }

    /// A line about all of them, once in a while.
    pub(super) fn line(&mut self, interval: Duration, now: Instant) -> Option<String> {
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < interval) {
            return None;
        }
        self.told = Some(now);
        let each = self.downloads.iter().filter(|(_, download)| !download.done);
        let each: Vec<_> =
            each.map(|(component, download)| format!("{component} {}", of(download.bytes, download.total))).collect();
        let (bytes, total) = self.overall();
        let all = if self.downloads.len() > 1 { format!("; {} in all", of(bytes, total)) } else { String::new() };
        Some(format!("fetching: {}{all}{}", each.join(", "), self.speed(now)))
    }

    fn speed(&self, now: Instant) -> String {
        let Some(seconds) =
            self.begun.map(|begun| now.saturating_duration_since(begun).as_secs()).filter(|seconds| *seconds > 0)
        else {
            return String::new();
        };
        let received: u64 = self.downloads.values().map(|each| each.bytes - each.resumed.unwrap_or(0).min(each.bytes)).sum();
        let rate = received / seconds;
        let (bytes, total) = self.overall();
        let left = total.filter(|_| rate > 0).map(|total| Duration::from_secs(total.saturating_sub(bytes) / rate));
        let left = left.map(|left| format!(", {} left", HumanDuration(left))).unwrap_or_default();
        format!(", {}/s{left}", BinaryBytes(rate))
    }
}

fn of(bytes: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("{} of {}", BinaryBytes(bytes), BinaryBytes(total)),
        None => BinaryBytes(bytes).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_each_and_all_with_rate_and_time_left() {
        let begun = Instant::now();
        let mut transfers = Transfers::default();
        let started = |component, total| Event::FetchStarted { component, source: String::new(), total: Some(total) };
        let progress = |component, bytes| Event::FetchProgress { component, bytes, total: None };
        transfers.account(&started(Component::Kubelet, 80 << 20), begun);
        transfers.account(&progress(Component::Kubelet, 10 << 20), begun);
        assert_eq!(transfers.line(Duration::from_secs(5), begun), None);
        let later = begun + Duration::from_secs(10);
        transfers.account(&progress(Component::Kubelet, 30 << 20), later);
        let line = transfers.line(Duration::from_secs(5), later).unwrap();
        assert_eq!(line, "fetching: kubelet 30.00 MiB of 80.00 MiB, 2.00 MiB/s, 25 seconds left");
        transfers.account(&started(Component::Flanneld, 20 << 20), later);
        assert_eq!(transfers.line(Duration::from_secs(5), later + Duration::from_secs(4)), None);
        let line = transfers.line(Duration::from_secs(5), later + Duration::from_secs(10)).unwrap();
        assert!(line.contains("flanneld 0 B of 20.00 MiB; 30.00 MiB of 100.00 MiB in all, 1.00 MiB/s"), "{line}");
        transfers.account(&Event::Fetched { component: Component::Kubelet, digest: String::new(), cached: false }, later);
        assert_eq!((transfers.under_way(), transfers.overall()), (1, (80 << 20, Some(100 << 20))));
    }
}
