//! `postgresql://user@host:5432/database`.

use std::fmt;

/// Where a database is. Never holds a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub user: String,
    /// A name or an address; IPv6 without its brackets.
    pub host: String,
    pub port: u16,
    pub database: String,
}

const FORM: &str = "write postgresql://user@host:5432/database";

impl Address {
    /// # Errors
    /// What is wrong with the URL. The text of a URL that holds a password is not repeated.
    pub fn parse(url: &str) -> Result<Self, String> {
        if Self::holds_password(url) {
            return Err("the URL of a database holds a password: take it out, and write `password = \"env:NAME\"` or \
                        `password = \"file:/path\"`"
                .to_owned());
        }
        let scheme = ["postgresql://", "postgres://"].into_iter().find_map(|scheme| url.strip_prefix(scheme));
        let Some(rest) = scheme else { return Err(format!("the URL of a database begins with postgresql://: {FORM}")) };
        let Some((user, place)) = rest.split_once('@') else {
            return Err(format!("the URL of a database names its user: {FORM}"));
        };
        if place.contains(['?', '#']) {
            return Err(format!("the URL of a database has no options: {FORM}, and `sslmode` as a key of its own"));
        }
        let Some((host, database)) = place.split_once('/') else {
            return Err(format!("the URL of a database names the database: {FORM}"));
        };
        let (host, port) = host_and_port(host)?;
        let [user, database] = [user, database].map(decoded);
        let (user, database) = (user?, database?);
        if [&user, &host, &database].into_iter().any(|part| part.is_empty()) || database.contains('/') {
            return Err(format!("the URL of a database has a user, a host and a database: {FORM}"));
        }
        Ok(Self { user, host, port, database })
    }

    /// Whether there is a password in the URL, right or wrong as it may be otherwise.
    pub(crate) fn holds_password(url: &str) -> bool {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        rest.rsplit_once('@').is_some_and(|(user, _)| user.contains([':', '@']))
    }

    /// Whether it is this machine, by its name alone: what names mean elsewhere is not asked.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<std::net::IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "postgresql://{}@{host}:{}/{}", self.user, self.port, self.database)
    }
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    match port.unwrap_or("5432").parse::<u16>() {
        Ok(port) if port > 0 => Ok((host.to_owned(), port)),
        _ => Err(format!("the port of a database is a number: {FORM}")),
    }
}

/// With `%20` as a space.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte.unwrap_or(b'x')).to_digit(16).and_then(|d| u8::try_from(d).ok());
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push(high * 16 + low),
            _ => return Err("a `%` in the URL of a database is written %25".to_owned()),
        }
    }
    String::from_utf8(bytes).map_err(|_| "the URL of a database is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_place() {
        let address = |user: &str, host: &str, port, database: &str| Address {
            user: user.to_owned(),
            host: host.to_owned(),
            port,
            database: database.to_owned(),
        };
        for (url, expected, shown, loopback) in [
            (
                "postgresql://r@db.example.com/shop",
                address("r", "db.example.com", 5432, "shop"),
                "postgresql://r@db.example.com:5432/shop",
                false,
            ),
            (
                "postgres://r%40x@[::1]:99/a%20b",
                address("r@x", "::1", 99, "a b"),
                "postgresql://r@x@[::1]:99/a b",
                true,
            ),
            (
                "postgresql://r@LOCALHOST/s",
                address("r", "LOCALHOST", 5432, "s"),
                "postgresql://r@LOCALHOST:5432/s",
                true,
            ),
            ("postgresql://r@127.0.0.9:1/s", address("r", "127.0.0.9", 1, "s"), "postgresql://r@127.0.0.9:1/s", true),
        ] {
            let parsed = Address::parse(url).unwrap();
            assert_eq!(parsed, expected);
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(parsed.is_loopback(), loopback, "{url}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for url in [
            "postgresql://u:s3cret@h/d",
            "postgresql://u:s3c@ret@h/d",
            "postgres://:s3cret@h:1/d",
            "postgresql://s3cret@u@h/d",
        ] {
            let message = Address::parse(url).unwrap_err();
            assert!(message.contains("holds a password") && !message.contains("s3c"), "{message}");
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "mysql://u@h/d",
            "postgresql://h/d",
            "postgresql://u@h",
            "postgresql://u@h:x/d",
            "postgresql://u@h:0/d",
            "postgresql://u@/d",
            "postgresql://u@h/",
            "postgresql://u@h/d?sslmode=disable",
            "postgresql://u@h/%zz",
            "postgresql://u@h/a/b",
            "postgresql://u@h/%ff",
        ] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }
}
