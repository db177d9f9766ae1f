//! Who holds open sockets. Owns the count of them by address, so that one machine cannot take them all by opening silent ones again
//! whenever they are closed; must never read what comes over them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::api::error::ApiError;
use crate::domain::error_code::ErrorCode;

/// Of an IPv6 address what a provider gives to one customer.
const CUSTOMER_BITS: u32 = 64;

/// Open sockets by address.
pub struct Connections {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A socket that is counted, until dropped.
pub struct Counted {
    connections: Arc<Connections>,
    from: IpAddr,
}

impl Connections {
    /// None yet; of one address at most so many, 0 for any number.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// Counts a socket; `None` when its address has as many as one may.
    pub fn count(self: &Arc<Self>, from: IpAddr) -> Option<Counted> {
        let from = customer(from);
        let mut open = self.open.lock();
        let held = open.entry(from).or_default();
        if self.most > 0 && *held >= self.most {
            return None;
        }
        *held += 1;
        Some(Counted { connections: Arc::clone(self), from })
    }

    /// What a socket beyond that is told, as bytes: it is closed before anything of it is read.
    pub fn refusal(&self) -> Vec<u8> {
        let message = format!(
            "There are {} connections from this address, as many as one may have (server.connections_per_address); close one, then \
             try again.",
            self.most
        );
        let (status, body) = ApiError::new(ErrorCode::TooManyConnections, message).status_and_body();
        let head = format!(
            "HTTP/1.1 {status} Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: {}\r\nretry-after: 1\r\n\
             connection: close\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        let held = open.get_mut(&self.from).map(|held| {
            *held -= 1;
            *held
        });
        if held == Some(0) {
            open.remove(&self.from);
        }
    }
}

/// Whom an address stands for: itself, or of IPv6 the network that one customer has.
fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> CUSTOMER_BITS << CUSTOMER_BITS)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_so_many_sockets_at_once() {
        let connections = Connections::new(2);
        let held = [connections.count(ip("192.0.2.1")), connections.count(ip("::ffff:192.0.2.1"))];
        assert!(held.iter().all(Option::is_some));
        assert!(connections.count(ip("192.0.2.1")).is_none());
        assert!(connections.count(ip("192.0.2.2")).is_some(), "another's are another's");
        drop(held);
        assert!(connections.count(ip("192.0.2.1")).is_some());
        assert!(connections.open.lock().is_empty(), "nothing is kept of an address without sockets");
    }

    #[test]
    fn the_addresses_of_one_ipv6_customer_are_one() {
        let connections = Connections::new(1);
        let _held = connections.count(ip("2001:db8::1"));
        assert!(connections.count(ip("2001:db8::ffff:1")).is_none());
        assert!(connections.count(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn no_bound_is_zero() {
        let connections = Connections::new(0);
        let held: Vec<_> = (0..10).map(|_| connections.count(ip("192.0.2.1"))).collect();
        assert!(held.iter().all(Option::is_some));
    }
}
