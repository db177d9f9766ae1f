//! Calls to URLs of a tenant's choice. Owns which of them may be called; an address is judged after its name was looked up,
//! and the very address that was judged is called, so that a name cannot change its mind in between.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::dns::Addrs;
use reqwest::dns::Name;
use reqwest::dns::Resolve;
use reqwest::dns::Resolving;
use reqwest::redirect::Policy;
use url::Host;
use url::Url;

use crate::domain::addresses::is_public;
use crate::domain::error_code::ErrorCode;
use crate::service::context::Result;
use crate::service::error::ServiceError;

/// A look-up takes no longer.
const LOOK_UP: Duration = Duration::from_secs(3);
/// Longest URL.
const LENGTH: usize = 2000;

/// Who may be called.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// Anybody, by plain HTTP as well: for tests and intranets.
    pub allow_private: bool,
}

/// The URL leads to where this host may not call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is not on the public internet")]
pub struct Closed;

impl Guard {
    /// Reads a URL and refuses one that may not be called now. A name that is not known yet is judged when it is called.
    pub async fn check(&self, text: &str) -> Result<Url> {
        let url = self.read(text)?;
        let found = match url.host() {
            Some(Host::Domain(name)) => {
                let looked_up = tokio::net::lookup_host((name, 0));
                let found = tokio::time::timeout(LOOK_UP, looked_up).await.ok().and_then(|found| found.ok());
                found.map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default()
            }
            Some(Host::Ipv4(address)) => vec![IpAddr::V4(address)],
            Some(Host::Ipv6(address)) => vec![IpAddr::V6(address)],
            None => return Err(refused("it has no host")),
        };
        self.judge(&found).map_err(|closed| refused(&closed.to_string()))?;
        Ok(url)
    }

    /// What can be judged without looking a name up: before each call as well, for a call asks no resolver about numbers.
    pub fn read(&self, text: &str) -> Result<Url> {
        if text.len() > LENGTH {
            return Err(refused("it is too long"));
        }
        let url = Url::parse(text).map_err(|error| refused(&error.to_string()))?;
        let is_known = url.scheme() == "https" || (self.allow_private && url.scheme() == "http");
        if !is_known {
            return Err(refused("it must begin with https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("it must not carry a user name or password"));
        }
        if !self.allow_private && url.host_str().is_some_and(is_this_machine) {
            return Err(refused(&Closed.to_string()));
        }
        let number = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        self.judge(number.as_slice()).map_err(|closed| refused(&closed.to_string()))?;
        Ok(url)
    }

    fn judge(&self, found: &[IpAddr]) -> std::result::Result<(), Closed> {
        if self.allow_private || found.iter().all(|address| is_public(*address)) { Ok(()) } else { Err(Closed) }
    }

    /// A client that calls only whom this guard allows, follows no redirect, and uses no proxy.
    pub fn client(self, timeout: Duration) -> reqwest::Result<Client> {
        Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .timeout(timeout)
            .pool_max_idle_per_host(0) // each call looks its name up again
            .user_agent(concat!("blindtune-webhooks/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(self))
            .build()
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
            guard.judge(&addresses)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether the name is the machine's own, whatever its resolver says (RFC 6761, section 6.3).
fn is_this_machine(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn refused(reason: &str) -> ServiceError {
    ServiceError::new(ErrorCode::InvalidUrl, format!("url: {reason}.")).at("url")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: Guard = Guard { allow_private: false };

    #[tokio::test]
    async fn private_addresses_are_refused_however_they_are_written() {
        for host in [
            "127.0.0.1",
            "localhost",
            "localhost.",
            "LOCALHOST",
            "a.localhost",
            "10.0.0.1",
            "169.254.169.254",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.1",
            "0",
            "[::]",
            "[fd00::1]",
            "100.64.0.1",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
        ] {
            let refused = CLOSED.check(&format!("https://{host}/hook")).await;
            assert_eq!(refused.err().map(|error| error.code), Some(ErrorCode::InvalidUrl), "{host}");
        }
    }

    #[tokio::test]
    async fn other_schemes_and_passwords_are_refused() {
        for url in [
            "http://1.1.1.1/",
            "ftp://1.1.1.1/",
            "file:///etc/passwd",
            "https://me:pass@1.1.1.1/",
            "https://me@1.1.1.1/",
            "x",
        ] {
            assert!(CLOSED.check(url).await.is_err(), "{url}");
        }
        assert!(CLOSED.check("https://1.1.1.1/hook?x=1").await.is_ok());
        let open = Guard { allow_private: true };
        assert!(open.check("http://127.0.0.1:1/").await.is_ok());
        assert!(open.check("file:///etc/passwd").await.is_err());
    }

    #[tokio::test]
    async fn the_client_judges_a_name_when_it_calls() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("bound").port();
        let client = CLOSED.client(Duration::from_secs(5)).expect("a client");
        let error = client.get(format!("http://localhost:{port}/")).send().await.expect_err("closed");
        assert!(format!("{error:?}").contains("Closed"), "{error:?}");
        let called = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(called.is_err(), "nobody called");
    }
}
