//! Rekor, sigstore's transparency log: finding the entry of a signature. Source: its API, version 1 (rekor's openapi.yaml).
//!
//! What it answers proves nothing here: the entry becomes part of a bundle, and that is verified. Promise: each answer is
//! limited in size, and all of it in time.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use sigstore_verify::{
    rekor::{LogEntry, RekorEntryBody},
    types::{DerCertificate, PemContent, SignatureBytes},
};
use url::Url;

use super::{SignatureProblem, Wrong, material};
use crate::{
    fetch::{client, response, subject::redacted},
    model::Digest,
};

/// An answer with ten entries has some 100 KB.
const LIMIT: usize = 4 << 20;
/// Rekor gives no more entries at once, and a file that was signed more often is looked at no further.
const ENTRIES: usize = 10;

/// A transparency log that is asked.
pub(super) struct Rekor<'a> {
    /// With the usual authorities and proxies.
    pub(super) client: &'a reqwest::Client,
    /// Its address.
    pub(super) url: &'a Url,
    /// All of it takes no longer.
    pub(super) limit: Duration,
}

/// A signature, and what made it.
pub(super) struct Sought<'a> {
    pub(super) digest: &'a Digest,
    pub(super) signature: &'a SignatureBytes,
    /// As it was logged.
    pub(super) pem: &'a str,
    pub(super) certificate: &'a DerCertificate,
}

impl Rekor<'_> {
    /// The entry of just this signature.
    pub(super) async fn find(&self, sought: &Sought<'_>) -> Result<LogEntry, SignatureProblem> {
        let url = redacted(self.url);
        let unreachable = || SignatureProblem::Unreachable {
            url: url.clone(),
            found: format!("no answer within {} s", self.limit.as_secs_f32()),
            transient: true,
        };
        let found = tokio::time::timeout(self.limit, self.search(sought)).await.map_err(|_| unreachable())??;
        found.ok_or_else(|| SignatureProblem::Wrong { from: url.clone(), wrong: Wrong::NotLogged(url.clone()) })
    }

    /// Asks for the very entry, as cosign does; then, where the certificate's text was changed since, for all entries of the
    /// digest.
    async fn search(&self, sought: &Sought<'_>) -> Result<Option<LogEntry>, SignatureProblem> {
        let entry = json!({
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": { "hash": { "algorithm": "sha256", "value": sought.digest } },
                "signature": {
                    "content": sought.signature.to_base64(),
                    "publicKey": { "content": PemContent::from_bytes(sought.pem.as_bytes()).to_base64() },
                },
            },
        });
        if let Some(found) = self.retrieve(&json!({ "entries": [entry] }), sought).await? {
            return Ok(Some(found));
        }
        let index = json!({ "hash": format!("sha256:{}", sought.digest) });
        let mut uuids: Vec<String> = self.ask("api/v1/index/retrieve", &index).await?;
        uuids.truncate(ENTRIES);
        if uuids.is_empty() {
            return Ok(None);
        }
        self.retrieve(&json!({ "entryUUIDs": uuids }), sought).await
    }

    async fn retrieve(&self, question: &serde_json::Value, sought: &Sought<'_>) -> Result<Option<LogEntry>, SignatureProblem> {
        let found: Vec<BTreeMap<String, LogEntry>> = self.ask("api/v1/log/entries/retrieve", question).await?;
        Ok(found.into_iter().flat_map(BTreeMap::into_values).find(|entry| sought.is_in(entry)))
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        question: &serde_json::Value,
    ) -> Result<T, SignatureProblem> {
        let shown = redacted(self.url);
        let unreachable = |found: String, transient| SignatureProblem::Unreachable { url: shown.clone(), found, transient };
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path().trim_end_matches('/')));
        let failed = |error| {
            let problem = client::problem(error);
            unreachable(problem.to_string(), problem.is_transient())
        };
        let mut answer = self.client.post(url).json(question).send().await.map_err(failed)?;
        if !answer.status().is_success() {
            let problem = response::refusal(answer.status(), answer.headers());
            return Err(unreachable(problem.to_string(), problem.is_transient()));
        }
        let mut content: Vec<u8> = Vec::new();
        while let Some(bytes) = answer.chunk().await.map_err(failed)? {
            content.extend_from_slice(&bytes);
            if content.len() > LIMIT {
                return Err(unreachable(format!("an answer of more than {LIMIT} bytes"), false));
            }
        }
        serde_json::from_slice(&content).map_err(|error| {
            let html = material::is_html(&content);
            let found =
                if html { "an HTML page instead of an answer".to_owned() } else { format!("no answer of Rekor's: {error}") };
            unreachable(found, false)
        })
    }
}

impl Sought<'_> {
    /// Whether an entry is of this signature and this certificate.
    fn is_in(&self, entry: &LogEntry) -> bool {
        match RekorEntryBody::from_json(entry.body.as_bytes(), "hashedrekord", "0.0.1") {
            Ok(RekorEntryBody::HashedRekordV001(body)) => {
                let signature = body.spec.signature;
                signature.content == *self.signature
                    && signature.public_key.parse_certificate().is_ok_and(|found| found == *self.certificate)
            }
            _ => false,
        }
    }
}
