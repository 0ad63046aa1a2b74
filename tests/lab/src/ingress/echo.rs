//! The configuration of the echo backends: nginx that answers with its pod's name.
//!
//! Pure text. Every request is logged with its status, peer and place on its connection: what the
//! probe counts at a backend is held against that log.

use std::fmt::Write;

use super::Upstream;

/// Port of health checks where the other speaks HTTP/2 alone.
pub(crate) const HEALTH_PORT: u16 = 8081;

/// Answers of other shapes than the usual one, for whoever follows connections.
const ODDITIES: &str = "        root .;
        location = /healthz { return 200 \"ok\\n\"; }
        location = /empty { return 204; }
        location = /unchanged { return 304; }
        location = /moved { return 301 /echo; }
        location = /missing { return 404; }
        location = /large { try_files /large.txt =500; }
        location = /chunked { ssi on; ssi_types *; try_files /large.txt =500; }
";

/// Lines of the file behind `/large` and `/chunked`.
const LARGE_LINES: usize = 4000;

/// A body that looks like answers, for whoever takes it for one.
pub(crate) fn large_body() -> String {
    "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".repeat(LARGE_LINES)
}

/// What every nginx of the lab begins with; the `http` block stays open.
pub(crate) fn nginx_head() -> String {
    "user root;\ndaemon off;\nworker_processes 1;\nworker_rlimit_nofile 16384;\npid nginx.pid;\n\
     error_log error.log warn;\nevents { worker_connections 8192; }\nhttp {\n    \
     client_body_temp_path temp-body;\n    proxy_temp_path temp-proxy;\n    \
     fastcgi_temp_path temp-fastcgi;\n    uwsgi_temp_path temp-uwsgi;\n    \
     scgi_temp_path temp-scgi;\n    tcp_nodelay on;\n    keepalive_requests 1000000;\n"
        .to_owned()
}

/// The `nginx.conf` of a pod.
pub(crate) fn config(pod: &str, port: u16, upstream: &Upstream, answers: &Answers) -> String {
    let mut text = nginx_head();
    let protocol = if upstream.h2c { " http2" } else { "" };
    let _ = write!(
        text,
        "    log_format witness '$msec\\t$remote_addr\\t$remote_port\\t$server_port\\t\
         $server_protocol\\t$request_uri\\t$status\\t$connection_requests\\t$request_time';\n    \
         access_log access.log witness;\n    \
         http2_max_concurrent_streams 1024;\n    default_type text/plain;\n"
    );
    if !upstream.keep_alive {
        text.push_str("    keepalive_timeout 0;\n");
    }
    if let Some(rate) = answers.rate_per_s {
        let _ = writeln!(
            text,
            "    limit_req_zone $server_port zone=slow:1m rate={rate}r/s;"
        );
    }
    let _ = writeln!(
        text,
        "    server {{\n        listen {port}{protocol} backlog=4096;"
    );
    if upstream.h2c {
        let _ = writeln!(text, "        listen {HEALTH_PORT};");
    }
    text.push_str(ODDITIES);
    text.push_str("        location / {\n");
    if answers.rate_per_s.is_some() {
        text.push_str(
            "            limit_req zone=slow burst=10000;\n            try_files /hostname =500;\n",
        );
    } else {
        let status = answers.status;
        let _ = writeln!(text, "            return {status} \"Hostname: {pod}\\n\";");
    }
    text.push_str("        }\n    }\n}\n");
    text
}

/// How a pod answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answers {
    /// With this status code.
    pub status: u16,
    /// At most so many a second; the others wait, which gives latencies worth measuring.
    pub rate_per_s: Option<u32>,
}
