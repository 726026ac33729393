//! A kubeconfig, as far as it says where the API server is, whom to trust, and who one is towards it.
//!
//! Promise: reads only; a credential that cannot be used is named with what is wrong. Gap: neither a plugin that makes
//! credentials (`exec`) nor a password is used.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use url::Url;

use super::{
    api_server::{ClientCertificate, Credential},
    files::{self, FileError},
};
use crate::model::Secret;

/// A kubeconfig that gives no credential.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// It, or a file that it names, cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is none, or holds nothing that can be used.
    #[error("{}: {why}", path.display())]
    Content {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kubeconfig {
    current_context: Option<String>,
    #[serde(default)]
    contexts: Vec<Named<Context>>,
    #[serde(default)]
    users: Vec<Named<User>>,
    #[serde(default)]
    clusters: Vec<Named<Cluster>>,
}

/// `context`, `user` or `cluster`, whichever it is.
#[derive(Debug, Deserialize)]
struct Named<T> {
    name: String,
    #[serde(alias = "context", alias = "user", alias = "cluster")]
    value: T,
}

#[derive(Debug, Deserialize)]
struct Context {
    user: String,
    #[serde(default)]
    cluster: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: Url,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
}

/// Where a kubeconfig's current context leads.
#[derive(Debug, Clone)]
pub struct Server {
    /// The API server.
    pub url: Url,
    /// The authorities that may vouch for it, as PEM.
    pub authority: Vec<u8>,
}

/// The current context's cluster.
pub fn server(path: &Path) -> Result<Server, KubeconfigError> {
    let wrong = |why: String| KubeconfigError::Content { path: path.to_owned(), why };
    let (config, context) = current(&files::read_text(path)?).map_err(wrong)?;
    let found = config.clusters.into_iter().find(|cluster| cluster.name == context.cluster);
    let absent = || format!("there is no cluster {:?}, which the current context names", context.cluster);
    let cluster = found.ok_or_else(absent).map_err(wrong)?.value;
    let authority = match (cluster.certificate_authority_data, cluster.certificate_authority) {
        (Some(data), _) => {
            STANDARD.decode(data.trim()).map_err(|error| wrong(format!("certificate-authority-data: {error}")))?
        }
        (None, Some(file)) => files::read(&beside(path, &file))?,
        (None, None) => return Err(wrong("its cluster has no certificate authority".to_owned())),
    };
    Ok(Server { url: cluster.server, authority })
}

/// Source: client-go, paths are relative to the file that names them.
fn beside(path: &Path, other: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).join(other)
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// Who somebody is towards an API server, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A token.
    Token(Secret<String>),
    /// A client certificate and its key, as PEM.
    Certificate {
        /// The certificate, and those that lead to its authority.
        certificate: Vec<u8>,
        /// The key.
        key: Secret<Vec<u8>>,
    },
}

impl Identity {
    /// The same for asking the API server with it.
    pub fn credential(self) -> Result<Credential, String> {
        match self {
            Self::Token(token) => Ok(Credential::Token(token)),
            Self::Certificate { certificate, key } => {
                ClientCertificate::parse(&certificate, key.expose()).map(Credential::Certificate)
            }
        }
    }
}

/// Who the current context's user is, for asking the API server.
pub fn credential(path: &Path) -> Result<Credential, KubeconfigError> {
    identity(path)?.credential().map_err(|why| KubeconfigError::Content { path: path.to_owned(), why })
}

/// Who the current context's user is.
pub fn identity(path: &Path) -> Result<Identity, KubeconfigError> {
    let text = files::read_text(path)?;
    let wrong = |why: String| KubeconfigError::Content { path: path.to_owned(), why };
    let user = user(&text).map_err(wrong)?;
    if let Some(token) = user.token.filter(|token| !token.is_empty()) {
        return Ok(Identity::Token(Secret::new(token)));
    }
    if let Some(file) = user.token_file {
        return Ok(Identity::Token(Secret::new(files::read_text(&beside(path, &file))?.trim().to_owned())));
    }
    let pem = |data: Option<String>, file: Option<PathBuf>, what: &str| match (data, file) {
        (Some(data), _) => STANDARD.decode(data.trim()).map_err(|error| wrong(format!("{what}-data: {error}"))),
        (None, Some(file)) => Ok(files::read(&beside(path, &file))?),
        (None, None) => Err(wrong(format!("its user has neither a token nor a {what}; exec plugins are not run"))),
    };
    let certificate = pem(user.client_certificate_data, user.client_certificate, "client-certificate")?;
    let key = Secret::new(pem(user.client_key_data, user.client_key, "client-key")?);
    Ok(Identity::Certificate { certificate, key })
}

fn user(text: &str) -> Result<User, String> {
    let (config, context) = current(text)?;
    let user = config.users.into_iter().find(|user| user.name == context.user);
    user.map(|user| user.value).ok_or_else(|| format!("there is no user {:?}, which the current context names", context.user))
}

fn current(text: &str) -> Result<(Kubeconfig, Context), String> {
    // The parser's message would show the line, and with it a token.
    let mut config: Kubeconfig = serde_saphyr::from_str(text).map_err(|_| "it is no kubeconfig".to_owned())?;
    let name = config.current_context.take().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| "it has no current-context".to_owned())?;
    let contexts = std::mem::take(&mut config.contexts);
    let context = contexts.into_iter().find(|context| context.name == name);
    let context = context.ok_or_else(|| format!("there is no context {name:?}, which is the current one"))?.value;
    Ok((config, context))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: &str = "apiVersion: v1
kind: Config
clusters: [{name: default, cluster: {server: 'https://10.0.1.1:6443', certificate-authority-data: QUJD}}]
contexts: [{name: default, context: {cluster: default, user: flannel}}]
current-context: default
users:
- name: flannel
  user:
    token: eyJhbGciOiJSUzI1NiJ9.e30.c2ln
";

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flannel.conf");
        files::write(&path, text.as_bytes(), 0o600).unwrap();
        (directory, path)
    }

    #[test]
    fn the_current_contexts_token_is_found_whether_it_stands_there_or_in_a_file() {
        let token = |text: &str, file: Option<&str>| {
            let (directory, path) = written(text);
            if let Some(content) = file {
                files::write(&directory.path().join("token"), content.as_bytes(), 0o600).unwrap();
            }
            match credential(&path).unwrap() {
                Credential::Token(token) => token.expose().clone(),
                Credential::Certificate(_) => panic!("a certificate"),
            }
        };
        assert_eq!(token(USUAL, None), "eyJhbGciOiJSUzI1NiJ9.e30.c2ln");
        let beside = USUAL.replace("token: eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "tokenFile: token");
        assert_eq!(token(&beside, Some("of-a-file\n")), "of-a-file");
    }

    #[test]
    fn a_certificate_is_found_in_its_data() {
        let made = rcgen::generate_simple_self_signed(vec!["flannel".to_owned()]).unwrap();
        let data = |pem: String| STANDARD.encode(pem);
        let user = format!(
            "client-certificate-data: {}\n    client-key-data: {}",
            data(made.cert.pem()),
            data(made.signing_key.serialize_pem())
        );
        let (_directory, path) = written(&USUAL.replace("token: eyJhbGciOiJSUzI1NiJ9.e30.c2ln", &user));
        assert!(matches!(credential(&path).unwrap(), Credential::Certificate(_)));
    }

    #[test]
    fn what_gives_no_credential_is_told_without_showing_any() {
        for (text, says) in [
            ("- a list", "it is no kubeconfig"),
            (&USUAL.replace("current-context: default", "current-context: ''"), "it has no current-context"),
            (&USUAL.replace("current-context: default", "current-context: other"), "there is no context \"other\""),
            (&USUAL.replace("user: flannel}", "user: nobody}"), "there is no user \"nobody\""),
            (&USUAL.replace("token: ", "exec: "), "neither a token nor a client-certificate; exec"),
            (&USUAL.replace("token: ey", "username: ey"), "neither a token nor a client-certificate; exec"),
        ] {
            let (_directory, path) = written(text);
            let said = credential(&path).err();
            let said = said.map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains(says), "{said}");
            assert!(!said.contains("eyJ"), "{said}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,200}") {
            let _ = user(&text);
        }
    }
}
