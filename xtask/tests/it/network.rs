//! How xtask reaches AWS from inside a company: a proxy, an authority of its own, and servers that
//! never answer; all of them on loopback.

mod company;
mod proxy;
mod silence;
