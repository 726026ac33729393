//! Trying sources: in which order, how often, after how long, and when not.
//!
//! A round asks each source once, so that a source that fails costs no pause where there is another. A pause comes between
//! rounds: as long for each source, so that the next round keeps their order, unless a source asks for more patience. Who says
//! something final about the file is not asked for it again.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use super::{FetchError, Problem, error::SourceFailure, standing::Standing, subject::redacted};
use crate::{
    config::Site,
    output::{Event, Events},
};

/// The pause before the second round; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// No pause of ours is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A source that asks for more patience than this gets this much.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(1);

/// The attempts at one file.
pub(super) struct Rounds<'a> {
    what: String,
    events: &'a Events,
    standing: &'a Standing,
    limit: u32,
    jitter: Jitter,
    sources: Vec<Source>,
    current: Option<usize>,
}

struct Source {
    site: Site,
    made: u32,
    problem: Option<Problem>,
    /// It said something final about the file.
    out: bool,
    not_before: Option<Instant>,
}

impl Source {
    fn shown(&self) -> String {
        redacted(&self.site.url)
    }
}

impl<'a> Rounds<'a> {
    /// Those that failed lately come last.
    pub(super) fn new(what: String, sites: &[Site], limit: u32, events: &'a Events, standing: &'a Standing) -> Self {
        let mut sites = sites.to_vec();
        sites.sort_by_key(|site| standing.is_bad(&site.url));
        let source = |site| Source { site, made: 0, problem: None, out: false, not_before: None };
        let sources = sites.into_iter().map(source).collect();
        Self { what, events, standing, limit, jitter: Jitter::draw(), sources, current: None }
    }

    /// The source whose turn it is, after a pause where one is due; none when all that may help was done.
    pub(super) async fn next(&mut self) -> Option<Site> {
        let (index, due) = self.coming()?;
        if let Some(due) = due {
            tokio::time::sleep_until(due.into()).await;
        }
        self.current = Some(index);
        self.sources[index].made += 1;
        Some(self.sources[index].site.clone())
    }

    /// Who is next, and from when on: the one that was asked least, and among those the first.
    fn coming(&self) -> Option<(usize, Option<Instant>)> {
        let live = || self.sources.iter().enumerate().filter(|(_, source)| !source.out && source.made < self.limit);
        let now = Instant::now();
        let ready = live().filter(|(_, source)| source.not_before.is_none_or(|due| due <= now));
        if let Some((index, _)) = ready.min_by_key(|(_, source)| source.made) {
            return Some((index, None));
        }
        live().min_by_key(|(_, source)| source.not_before).map(|(index, source)| (index, source.not_before))
    }

    /// The source that was asked last has it.
    pub(super) fn worked(&self) {
        if let Some(source) = self.current.map(|index| &self.sources[index]) {
            self.standing.worked(&source.site.url);
        }
    }

    /// The source that was asked last does not have it, for this reason.
    pub(super) fn failed(&mut self, problem: Problem) {
        let Some(index) = self.current else { return };
        let source = &mut self.sources[index];
        if problem.is_the_sources() {
            self.standing.failed(&source.site.url);
        }
        source.out = !problem.is_transient();
        source.not_before = (!source.out).then(|| Instant::now() + self.jitter.pause(source.made, &problem));
        let (url, made) = (source.shown(), source.made);
        let text = format!("fetching {} from {url}: {problem}", self.what);
        source.problem = Some(problem);
        let Some((next, due)) = self.coming() else { return };
        let next = &self.sources[next];
        let text = match due.map(|due| due.saturating_duration_since(Instant::now())) {
            Some(pause) if next.shown() == url => {
                format!("{text}; attempt {} of {} in {:.1} s", made + 1, self.limit, pause.as_secs_f32())
            }
            Some(pause) => format!("{text}; trying {} in {:.1} s", next.shown(), pause.as_secs_f32()),
            None => format!("{text}; trying {}", next.shown()),
        };
        self.events.emit(Event::Warning { text });
    }

    /// What each source came to.
    pub(super) fn error(self) -> FetchError {
        let failure = |source: Source| {
            let url = source.shown();
            source.problem.map(|problem| SourceFailure { url, attempts: source.made, problem })
        };
        FetchError::Fetching { what: self.what, failures: self.sources.into_iter().filter_map(failure).collect() }
    }
}

/// By how much pauses are shorter than they might be, in 1024ths: drawn once for a file, so that the nodes of a cluster that boot
/// together do not come back together, while the sources of one node keep their order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jitter(u32);

impl Jitter {
    pub(super) fn draw() -> Self {
        // RandomState is keyed at random in each process: enough to spread nodes.
        Self(u32::try_from(RandomState::new().hash_one(()) % 512).unwrap_or(0))
    }

    /// Doubling, from so many attempts on.
    pub(super) fn pause(self, made: u32, problem: &Problem) -> Duration {
        if let Problem::Status { retry_after: Some(asked), .. } = problem {
            return (*asked).min(LONGEST_RETRY_AFTER);
        }
        let whole = FIRST_PAUSE.saturating_mul(1 << made.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
        whole.saturating_sub(whole.saturating_mul(self.0) / 1024)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::output::Silent;

    #[test]
    fn pauses_double_up_to_a_limit_and_vary() {
        let broken = Problem::Broken(String::new());
        for (made, whole) in [(1, 500), (2, 1000), (3, 2000), (30, 10_000)] {
            for jitter in [Jitter(0), Jitter::draw(), Jitter(511)] {
                let pause = jitter.pause(made, &broken).as_millis();
                assert!((whole / 2..=whole).contains(&pause), "{made}: {pause}");
            }
        }
    }

    #[test]
    fn a_source_that_asks_for_patience_gets_it_up_to_a_limit() {
        let asking = |seconds| Problem::Status { code: 429, retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(Jitter::draw().pause(1, &asking(7)), Duration::from_secs(7));
        assert_eq!(Jitter::draw().pause(1, &asking(86_400)), LONGEST_RETRY_AFTER);
    }

    #[test]
    fn what_a_source_says_is_final_and_what_a_network_does_is_not() {
        let status = |code| Problem::Status { code, retry_after: None };
        for code in [408, 429, 500, 502, 503, 504] {
            assert!(status(code).is_transient(), "{code}");
        }
        for code in [301, 400, 401, 403, 404, 407, 410, 501, 505, 511] {
            assert!(!status(code).is_transient(), "{code}");
        }
    }

    #[tokio::test]
    async fn each_source_has_its_turn_before_one_is_asked_again_and_the_final_word_is_not_asked_for_twice() {
        let events: Events = Arc::new(Silent);
        let standing = Standing::default();
        let sites: Vec<_> = ["https://a/x", "https://b/x"].map(|url| Site::of(url.parse().unwrap())).into();
        let mut rounds = Rounds::new("x".to_owned(), &sites, 3, &events, &standing);
        let mut asked = String::new();
        while let Some(site) = rounds.next().await {
            let host = site.url.host_str().unwrap().to_owned();
            asked += &host;
            let last = host == "b" && asked.len() > 2;
            rounds.failed(if last { Problem::Encoded("gzip".to_owned()) } else { Problem::Broken(String::new()) });
        }
        assert_eq!(asked, "ababa");
        let error = rounds.error();
        assert!(error.to_string().contains("https://a/x: the transfer broke off:  (after 3 attempts)"), "{error}");
        let again = Rounds::new("y".to_owned(), &sites, 3, &events, &standing).coming().unwrap().0;
        assert_eq!(again, 0, "both failed");
        standing.worked(&sites[1].url);
        let again = Rounds::new("y".to_owned(), &sites, 3, &events, &standing);
        assert_eq!(again.sources[again.coming().unwrap().0].site, sites[1]);
    }
}
