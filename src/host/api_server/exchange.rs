//! The requests of one look, over one connection as long as the server keeps it.

use std::{net::SocketAddr, time::Duration};

use http::StatusCode;
use jiff::Timestamp;
use tokio::time::timeout;

use super::{
    Answers, Bound, Credential, Door, NodeAnswer, NodesAnswer, OutOfTime, Progress, Question, Reply, Unreachable,
    VersionAnswer, answer,
    clock::{Clocks, date},
    connection::{Call, Connection, Response},
    trust::Authorities,
};

/// So many Nodes at once: forty thousand bytes for each.
const PAGE: u32 = 100;
/// Kubernetes supports 5,000 nodes: an answer that never ends is none.
const MOST_NODES: usize = 20_000;
/// The server's clock is waited for no longer.
const CLOCK: Duration = Duration::from_millis(400);

pub(super) async fn run(question: &Question<'_>, progress: &Progress) -> Result<Answers, Unreachable> {
    let authorities = Authorities::parse(question.door.authority, Timestamp::now())?;
    let session = Session { door: question.door, progress, authorities: &authorities };
    let mut connection = session.begin().await?;
    let address = connection.address;
    let response = session.get(&mut connection, "/version", None).await?;
    if let Some(validity) = authorities.out_of_time {
        let ours = Timestamp::now();
        let bound =
            if ours > validity.not_after { Bound::NotAfter(validity.not_after) } else { Bound::NotBefore(validity.not_before) };
        let found = OutOfTime { whose: "the cluster's authority", address, bound, ours, theirs: date(&response.headers) };
        return Err(Unreachable::OutOfTime(found));
    }
    let clocks = Clocks::of(&response.headers);
    let mut version = understand(address, &response)?;
    if let (VersionAnswer::Withheld(_), Some(token)) = (&version, session.token()) {
        // Whoever is known may read it (RBAC's system:public-info-viewer is for the authenticated as well).
        let response = session.get(&mut connection, "/version", Some(token)).await?;
        version = understand(address, &response).unwrap_or(version);
    }
    let node = match question.door.credential {
        None => NodeAnswer::NotAsked,
        Some(_) => session.node(&mut connection, question.node).await?,
    };
    Ok(Answers { address, version, node, clocks })
}

pub(super) async fn list(door: Door<'_>, progress: &Progress) -> Result<NodesAnswer, Unreachable> {
    let authorities = Authorities::parse(door.authority, Timestamp::now())?;
    let session = Session { door, progress, authorities: &authorities };
    let mut connection = session.begin().await?;
    session.nodes(&mut connection).await
}

pub(super) async fn call(door: Door<'_>, call: &Call<'_>, progress: &Progress) -> Result<Reply, Unreachable> {
    let authorities = Authorities::parse(door.authority, Timestamp::now())?;
    let session = Session { door, progress, authorities: &authorities };
    let mut connection = session.begin().await?;
    let response = connection.send(door.server, call, session.token()).await?;
    Ok(Reply { status: response.status, clocks: Clocks::of(&response.headers), body: response.body })
}

fn understand(address: SocketAddr, response: &Response) -> Result<VersionAnswer, Unreachable> {
    match (response.status, answer::version(&response.body)) {
        (StatusCode::OK, Some(version)) => Ok(VersionAnswer::Known(version)),
        (status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN), _) => Ok(VersionAnswer::Withheld(status)),
        (StatusCode::OK, None) => {
            Err(Unreachable::NotApiServer { address, what: "what it answers for /version tells no version".to_owned() })
        }
        (status, _) => Err(Unreachable::NotApiServer { address, what: format!("it answers {status} for /version") }),
    }
}

/// What the requests of one look share.
struct Session<'a> {
    door: Door<'a>,
    progress: &'a Progress,
    authorities: &'a Authorities,
}

impl Session<'_> {
    fn token(&self) -> Option<&str> {
        match self.door.credential {
            Some(Credential::Token(token)) => Some(token.expose()),
            _ => None,
        }
    }

    async fn begin(&self) -> Result<Connection, Unreachable> {
        match self.open(None).await {
            Err(Unreachable::OutOfTime(found)) => Err(Unreachable::OutOfTime(self.with_their_clock(found).await)),
            other => other,
        }
    }

    /// Connects; to learn the server's clock alone, at a time at which its certificate is valid, and then without showing
    /// who asks.
    async fn open(&self, at: Option<Timestamp>) -> Result<Connection, Unreachable> {
        let server = self.door.server;
        let certificate = match self.door.credential {
            Some(Credential::Certificate(certificate)) if at.is_none() => Some(certificate),
            _ => None,
        };
        Connection::open(server, self.authorities.client(certificate, at)?, self.progress).await
    }

    /// Asks once; where the server ended the connection after its last answer, over a new one.
    async fn get(&self, connection: &mut Connection, path: &str, token: Option<&str>) -> Result<Response, Unreachable> {
        if !connection.is_open().await {
            *connection = self.open(None).await?;
        }
        connection.get(self.door.server, path, token).await
    }

    async fn node(&self, connection: &mut Connection, name: &str) -> Result<NodeAnswer, Unreachable> {
        let path = format!("/api/v1/nodes/{name}");
        let response = self.get(connection, &path, self.token()).await?;
        Ok(match response.status {
            StatusCode::NOT_FOUND => NodeAnswer::Absent,
            StatusCode::UNAUTHORIZED => NodeAnswer::Unauthorized,
            StatusCode::FORBIDDEN => NodeAnswer::Forbidden,
            StatusCode::OK => match answer::node(&response.body) {
                Some(node) => NodeAnswer::Present(Box::new(node)),
                None => NodeAnswer::Unclear(format!("what it answers for {path} is no Node")),
            },
            status => NodeAnswer::Unclear(format!("it answers {status} for {path}")),
        })
    }

    /// All Nodes, page by page. A page that is no longer to be had (410) is begun with again, once.
    async fn nodes(&self, connection: &mut Connection) -> Result<NodesAnswer, Unreachable> {
        let (mut nodes, mut next, mut expired) = (Vec::new(), None::<String>, false);
        loop {
            let mut path = format!("/api/v1/nodes?limit={PAGE}");
            if let Some(token) = &next {
                path.extend(["&continue=", &url::form_urlencoded::byte_serialize(token.as_bytes()).collect::<String>()]);
            }
            let response = self.get(connection, &path, self.token()).await?;
            match response.status {
                StatusCode::UNAUTHORIZED => return Ok(NodesAnswer::Unauthorized),
                StatusCode::FORBIDDEN => return Ok(NodesAnswer::Forbidden),
                StatusCode::GONE if !expired => (nodes, next, expired) = (Vec::new(), None, true),
                StatusCode::OK => {
                    let Some(page) = answer::nodes(&response.body) else {
                        return Ok(NodesAnswer::Unclear("what it answers for /api/v1/nodes is no list of Nodes".to_owned()));
                    };
                    nodes.extend(page.nodes);
                    if page.next.is_empty() {
                        return Ok(NodesAnswer::Listed(nodes));
                    }
                    if nodes.len() > MOST_NODES {
                        return Ok(NodesAnswer::Unclear(format!("it lists more than {MOST_NODES} Nodes")));
                    }
                    next = Some(page.next);
                }
                status => return Ok(NodesAnswer::Unclear(format!("it answers {status} for /api/v1/nodes"))),
            }
        }
    }

    async fn with_their_clock(&self, found: OutOfTime) -> OutOfTime {
        let asked = async {
            let mut connection = self.open(Some(found.bound.inside())).await.ok()?;
            let response = connection.get(self.door.server, "/version", None).await.ok()?;
            date(&response.headers)
        };
        // The certificate is the news, whatever comes of this.
        OutOfTime { theirs: timeout(CLOCK, asked).await.ok().flatten(), ..found }
    }
}
