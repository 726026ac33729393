//! A request, and the head of its answer: what that means for a download that may be resumed.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{
    Method, Response, StatusCode,
    header::{
        ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_RANGE,
        LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER,
    },
};
use tokio::time::timeout;
use url::Url;

use super::{
    Problem,
    access::Access,
    client::{self, LazyClient},
    subject::redacted,
};
use crate::config::Site;

/// As many redirects are followed.
const REDIRECTS: usize = 10;

/// What follows from a status, asked from `offset`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The whole file comes.
    Whole,
    /// What is missing comes.
    Rest,
    /// The source cannot continue at the offset: ask for the whole.
    Unsatisfiable,
    /// Nothing comes.
    Refused,
}

/// One request for a file.
pub(super) struct Question<'q> {
    pub(super) method: Method,
    pub(super) site: &'q Site,
    /// `Range`, where not all is asked for.
    pub(super) range: Option<String>,
    /// The validator of what is there already: with another file the whole comes.
    pub(super) if_range: Option<&'q str>,
    /// Waits no longer for the head of an answer.
    pub(super) stall: Duration,
}

impl<'q> Question<'q> {
    pub(super) fn whole(site: &'q Site, stall: Duration) -> Self {
        Self { method: Method::GET, site, range: None, if_range: None, stall }
    }
}

/// Asks, and follows redirects: from https to https alone. The source's credentials go to its own origin alone, and so does
/// this node's certificate.
pub(super) async fn ask(client: &LazyClient, question: &Question<'_>) -> Result<Response, Problem> {
    let Question { site, stall, .. } = question;
    client::accepted(site)?;
    let clients = client.get().await?;
    let (asked, netrc) = ((*site).clone(), client.netrc.clone());
    let access = tokio::task::spawn_blocking(move || Access::of(&asked, &netrc)).await.map_err(Problem::stopped)??;
    let mut url = site.url.clone();
    for _ in 0..=REDIRECTS {
        let own = client::same_origin(&url, &site.url);
        let client = if own { &clients.known } else { &clients.foreign };
        // No encoding: the digest is of the bytes as they are sent.
        let mut request = client.request(question.method.clone(), url.clone()).header(ACCEPT_ENCODING, "identity");
        if own {
            request = access.apply(request);
        }
        if let Some(range) = &question.range {
            request = request.header(RANGE, range);
            if let Some(validator) = question.if_range {
                request = request.header(IF_RANGE, validator);
            }
        }
        let answer = timeout(*stall, request.send()).await.map_err(|_| Problem::Stalled(*stall))?.map_err(client::problem)?;
        match redirect(&url, &answer, site.allow_http)? {
            Some(next) => url = next,
            None => return Ok(answer),
        }
    }
    Err(Problem::RedirectLoop(REDIRECTS))
}

/// Where an answer sends us.
fn redirect(from: &Url, answer: &Response, allow_http: bool) -> Result<Option<Url>, Problem> {
    let sends = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = text(answer.headers(), &LOCATION).filter(|_| sends) else { return Ok(None) };
    let Ok(mut next) = from.join(location) else { return Ok(None) };
    let is_plain = next.scheme() == "http" && from.scheme() == "http" && allow_http;
    if next.scheme() != "https" && !is_plain {
        return Err(Problem::RedirectToPlain(redacted(&next)));
    }
    if !client::same_origin(&next, from) {
        // Neither fails where there is a host.
        let _ = next.set_username("");
        let _ = next.set_password(None);
    }
    Ok(Some(next))
}

/// The coding that the file's bytes were changed by on the way, where that can be no mistake: servers call an archive's own
/// compression an encoding, too, and then the digest decides.
pub(super) fn encoding(url: &Url, headers: &HeaderMap) -> Option<String> {
    let coding = text(headers, &CONTENT_ENCODING)?.trim().to_ascii_lowercase();
    let own = matches!(coding.as_str(), "gzip" | "x-gzip") && [".tgz", ".gz"].iter().any(|end| url.path().ends_with(end));
    let changed = !coding.is_empty() && coding != "identity" && !own;
    changed.then(|| coding.chars().take(40).flat_map(char::escape_default).collect())
}

/// What tells this version of the file from another: a strong ETag, or else the time of its last change.
pub(super) fn validator(headers: &HeaderMap) -> Option<String> {
    let strong = text(headers, &ETAG).filter(|tag| !tag.starts_with("W/") && tag.len() < 200);
    strong.or_else(|| text(headers, &LAST_MODIFIED)).map(str::to_owned)
}

/// Source: RFC 9110, sections 14.2 and 15.3.7. A server may ignore Range (200), and one that honours it says from where.
pub(super) fn meaning(status: StatusCode, headers: &HeaderMap, offset: u64) -> Meaning {
    match status {
        StatusCode::OK => Meaning::Whole,
        StatusCode::PARTIAL_CONTENT if offset > 0 => match range(headers) {
            Some((start, _)) if start == offset => Meaning::Rest,
            _ => Meaning::Unsatisfiable,
        },
        StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => Meaning::Unsatisfiable,
        _ => Meaning::Refused,
    }
}

/// The size of the whole file, where the answer tells it.
pub(super) fn total(status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    if status == StatusCode::PARTIAL_CONTENT { range(headers)?.1 } else { text(headers, &CONTENT_LENGTH)?.parse().ok() }
}

/// Whether what is missing belongs to a file of this size, as far as either is told, and reaches its end.
pub(super) fn continues(known: Option<u64>, headers: &HeaderMap) -> bool {
    let total = range(headers).and_then(|(_, total)| total);
    known.is_none_or(|known| total.is_none_or(|total| total == known))
}

/// The problem that a refusal is.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap) -> Problem {
    Problem::Status { code: status.as_u16(), retry_after: retry_after(headers, Timestamp::now()) }
}

/// Whether the source says that it sends a page for people.
pub(super) fn is_html(headers: &HeaderMap) -> bool {
    text(headers, &CONTENT_TYPE).is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"))
}

/// `bytes 100-199/200`: where it begins, and the size of the whole, which may be `*`.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let (range, total) = text(headers, &CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

/// Seconds, or a date. Source: RFC 9110, section 10.2.3.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let asked = text(headers, &RETRY_AFTER)?.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let due = rfc2822::DateTimeParser::new().parse_timestamp(asked).ok()?;
    Duration::try_from(due.duration_since(now)).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn only_an_answer_that_continues_at_the_offset_is_appended() {
        let continuing = |value| meaning(StatusCode::PARTIAL_CONTENT, &headers(CONTENT_RANGE, value), 100);
        assert_eq!(continuing("bytes 100-199/200"), Meaning::Rest);
        assert_eq!(continuing("bytes 100-199/*"), Meaning::Rest);
        for wrong in ["bytes 0-199/200", "bytes 101-199/200", "100-199/200", "bytes */200", "", "bytes x-y/z"] {
            assert_eq!(continuing(wrong), Meaning::Unsatisfiable, "{wrong}");
        }
        assert_eq!(meaning(StatusCode::OK, &HeaderMap::new(), 100), Meaning::Whole);
        assert_eq!(meaning(StatusCode::RANGE_NOT_SATISFIABLE, &HeaderMap::new(), 100), Meaning::Unsatisfiable);
        assert_eq!(meaning(StatusCode::RANGE_NOT_SATISFIABLE, &HeaderMap::new(), 0), Meaning::Refused);
        assert_eq!(meaning(StatusCode::PARTIAL_CONTENT, &headers(CONTENT_RANGE, "bytes 0-1/2"), 0), Meaning::Refused);
        assert_eq!(meaning(StatusCode::NO_CONTENT, &HeaderMap::new(), 0), Meaning::Refused);
    }

    #[test]
    fn the_whole_size_is_known_from_either_answer() {
        assert_eq!(total(StatusCode::OK, &headers(CONTENT_LENGTH, "200")), Some(200));
        assert_eq!(total(StatusCode::PARTIAL_CONTENT, &headers(CONTENT_RANGE, "bytes 100-199/200")), Some(200));
        assert_eq!(total(StatusCode::PARTIAL_CONTENT, &headers(CONTENT_RANGE, "bytes 100-199/*")), None);
    }

    #[test]
    fn patience_is_asked_for_in_seconds_or_as_a_date() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        let after = |value| retry_after(&headers(RETRY_AFTER, value), now);
        assert_eq!(after("120"), Some(Duration::from_mins(2)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(after("Sun, 06 Nov 1994 08:48:37 GMT"), None, "in the past");
        assert_eq!(after("soon"), None);
    }
}
