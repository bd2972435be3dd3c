//! Proxies by which the agent reads objects from elsewhere.
//!
//! Never: a call to the coordinator, to this host or to a link-local address by one. A proxy would ask
//! for them from where it stands, and EC2's instance metadata would be that of another machine.

use std::fmt;

/// What no proxy is asked for, whatever the settings say: this host, and its links.
const ALWAYS_DIRECT: [&str; 5] =
    ["localhost", "127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10"];

/// As `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// URLs. One for https alone is rare: ECS's agent is told of one for all.
    pub http: Option<String>,
    pub https: Option<String>,
    /// Names, domains, addresses and networks that are asked directly.
    pub direct: Vec<String>,
}

impl Proxies {
    /// Makes a client that uses these proxies and ignores the variables of the environment.
    pub(crate) fn apply(
        &self,
        client: reqwest::ClientBuilder,
    ) -> Result<reqwest::ClientBuilder, reqwest::Error> {
        let mut client = client.no_proxy();
        if let Some(proxy) = &self.http {
            client = client.proxy(reqwest::Proxy::http(proxy)?.no_proxy(self.direct()));
        }
        if let Some(proxy) = self.https.as_ref().or(self.http.as_ref()) {
            client = client.proxy(reqwest::Proxy::https(proxy)?.no_proxy(self.direct()));
        }
        Ok(client)
    }

    fn direct(&self) -> Option<reqwest::NoProxy> {
        let own = self.direct.iter().map(String::as_str);
        let all: Vec<&str> = ALWAYS_DIRECT.into_iter().chain(own).collect();
        reqwest::NoProxy::from_string(&all.join(","))
    }
}

/// Without the addresses, which can hold passwords.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("direct", &self.direct)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Of what is asked directly and answers nothing.
    const DIRECTLY_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);

    /// What a proxy is asked first, or nothing when the client does not turn to it.
    async fn asked(url: &str, direct: &[&str]) -> Option<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let direct = direct.iter().map(|&name| name.to_owned()).collect();
        let proxies = Proxies { http: Some(proxy), https: None, direct };
        let client = reqwest::Client::builder().timeout(DIRECTLY_WITHIN);
        let client = proxies.apply(client).unwrap().build().unwrap();
        let request = client.get(url).send();
        let heard = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut head).await.unwrap();
            }
            let _ =
                stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
            String::from_utf8(head).unwrap().lines().next().unwrap().to_owned()
        };
        tokio::select! {
            biased;
            heard = heard => Some(heard),
            _ = request => None,
        }
    }

    #[tokio::test]
    async fn proxy_is_asked_for_what_is_elsewhere_and_for_nothing_else() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Nobody answers there: what is not asked of the proxy fails.
        for (url, direct, wanted) in [
            ("http://s3.invalid/b/k", &[][..], Some("GET http://s3.invalid/b/k HTTP/1.1")),
            ("https://s3.invalid/b/k", &[], Some("CONNECT s3.invalid:443 HTTP/1.1")),
            ("http://192.0.2.1:1/k", &[], Some("GET http://192.0.2.1:1/k HTTP/1.1")),
            ("http://localhost:1/k", &[], None),
            ("http://127.0.0.1:1/k", &[], None),
            ("http://127.9.9.9:1/k", &[], None),
            ("http://[::1]:1/k", &[], None),
            ("http://169.254.169.254/latest", &[], None),
            ("http://169.254.170.2/v4", &[], None),
            ("http://s3.invalid/k", &["s3.invalid"], None),
            ("http://a.s3.invalid/k", &["other", ".s3.invalid"], None),
            ("http://127.0.0.1:1/k", &["other"], None),
        ] {
            assert_eq!(asked(url, direct).await.as_deref(), wanted, "{url} {direct:?}");
        }
    }
}
