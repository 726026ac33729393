//! Sources that do not serve what they should: each is named, with what to do.

use hostlet::model::Digest;

use super::{
    bench::{Bench, content},
    server::Answer,
};

#[tokio::test]
async fn a_wrong_digest_names_both_and_the_source_and_keeps_nothing() {
    let bench = Bench::new().await;
    let (wanted, served) = (content(10_000), content(9_999));
    let url = bench.server.put("/kubelet", &served, []);
    let error = bench.refused(&wanted, &url).await;
    for part in [Digest::of(&wanted).to_string(), Digest::of(&served).to_string(), url.to_string(), "9999 bytes".to_owned()] {
        assert!(error.to_string().contains(&part), "{part} is not in {error}");
    }
    assert!(!error.to_string().contains("HTML"), "{error}");
    assert_eq!(bench.cached(), [""; 0]);
    assert_eq!(bench.server.seen().len(), 1, "what a source says is not asked for twice");
}

#[tokio::test]
async fn an_html_page_is_recognised_by_its_type_and_by_its_beginning() {
    let bench = Bench::new().await;
    let page = "\n <!doctype HTML><title>Sign in</title>";
    for (path, answer, says) in [
        ("/type", Answer::Instead("text/html; charset=utf-8", "x"), "the source answered with an HTML page"),
        ("/beginning", Answer::Instead("x/y", page), "an HTML page came instead of the file (\"Sign in\"): a captive portal"),
    ] {
        let url = bench.server.always(path, answer);
        let error = bench.refused(b"wanted", &url).await;
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.remedy().contains("browser"), "{}", error.remedy());
    }
    assert_eq!(bench.cached(), [""; 0]);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_asked_for_once() {
    let bench = Bench::new().await;
    let url = bench.server.url("/v1.36.4/kubelet");
    let error = bench.refused(b"wanted", &url).await;
    assert!(error.to_string().contains("404 Not Found"), "{error}");
    assert!(error.remedy().contains("Check the version"), "{}", error.remedy());
    assert_eq!(bench.server.seen().len(), 1);
}

#[tokio::test]
async fn a_forbidden_file_is_about_credentials() {
    let bench = Bench::new().await;
    for code in [401, 403] {
        let url = bench.server.always("/kubelet", Answer::Status(code, ""));
        let error = bench.refused(b"wanted", &url).await;
        assert!(error.remedy().contains("credentials"), "{}", error.remedy());
    }
    assert_eq!(bench.server.seen().len(), 2);
}

#[tokio::test]
async fn a_redirect_to_plain_http_is_refused_and_named_without_its_query() {
    let bench = Bench::new().await;
    let url = bench.server.always("/kubelet", Answer::Redirect("http://mirror.example/kubelet?token=secret".to_owned()));
    let error = bench.refused(b"wanted", &url).await;
    assert!(error.to_string().contains("redirects to http://mirror.example/kubelet?…, which is not https"), "{error}");
    assert_eq!(bench.server.seen().len(), 1);
}

#[tokio::test]
async fn a_redirect_to_a_file_of_this_host_is_refused() {
    let bench = Bench::new().await;
    let url = bench.server.always("/kubelet", Answer::Redirect("file:///etc/shadow".to_owned()));
    let error = bench.refused(b"wanted", &url).await;
    assert!(error.to_string().contains("redirect") || error.to_string().contains("302"), "{error}");
    assert_eq!(bench.server.seen().len(), 1);
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let bench = Bench::new().await;
    let url = bench.server.url("/kubelet");
    bench.server.always("/kubelet", Answer::Redirect(url.to_string()));
    let error = bench.refused(b"wanted", &url).await;
    assert!(error.to_string().contains("redirects more than 10 times"), "{error}");
    assert_eq!(bench.server.seen().len(), 11);
}

#[tokio::test]
async fn a_file_larger_than_any_artifact_is_refused_before_it_comes() {
    let bench = Bench::new().await;
    let url = bench.server.always("/kubelet", Answer::Announce(2 << 30));
    let error = bench.refused(b"wanted", &url).await;
    assert!(error.to_string().contains("(2147483648 announced)"), "{error}");
    assert_eq!(bench.cached(), [""; 0]);
}

#[tokio::test]
async fn plain_http_is_not_even_tried() {
    let bench = Bench::new().await;
    let error = bench.refused(b"wanted", &"http://mirror.example/kubelet".parse().unwrap()).await;
    assert!(error.to_string().contains("is plain http, which it is not allowed to be"), "{error}");
}

#[tokio::test]
async fn no_credential_is_seen_in_errors_or_events() {
    let bench = Bench::new().await;
    let secrets = ["us3r", "passw0rd", "t0ken"];
    for script in [vec![Answer::Status(500, ""), Answer::Status(404, "")], vec![Answer::CutAfter(1), Answer::Serve]] {
        let mut url = bench.server.put("/kubelet", b"other", script);
        url.set_username(secrets[0]).unwrap();
        url.set_password(Some(secrets[1])).unwrap();
        url.set_query(Some("token=t0ken"));
        let error = bench.refused(b"wanted", &url).await;
        let shown = format!("{error} {error:?} {} {:?}", error.remedy(), bench.events());
        for secret in secrets {
            assert!(!shown.contains(secret), "{secret} is in {shown}");
        }
    }
    assert!(bench.server.seen().iter().all(|seen| seen.path == "/kubelet"));
}
