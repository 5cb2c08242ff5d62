//! A git server over HTTP on this machine: git's own `git http-backend` behind a small listener that wants a token.
//! Pushes over it run the repository's server hooks, which libgit2's pushes to a path do not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The token that the server accepts.
pub(crate) const TOKEN: &str = "ghs_correct-horse-battery-staple";
/// `x-access-token:` and the token, in base 64.
const AUTHORIZATION: &str = "Basic eC1hY2Nlc3MtdG9rZW46Z2hzX2NvcnJlY3QtaG9yc2UtYmF0dGVyeS1zdGFwbGU=";

/// Serves the repositories below `root` until the process ends; the address to put before their names.
pub(crate) fn serve(root: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let root = root.to_owned();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let root = root.clone();
            // A client that hangs up early is its own affair.
            std::thread::spawn(move || connection.and_then(|connection| answer(connection, &root)).ok());
        }
    });
    address
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

fn answer(mut connection: TcpStream, root: &PathBuf) -> std::io::Result<()> {
    let request = read_request(&mut connection)?;
    if request.header("authorization") != AUTHORIZATION {
        return connection.write_all(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", request.header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", request.header("content-encoding"))
        .env("REMOTE_USER", "bot")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git is installed");
    let sent = backend.stdin.take().expect("it is piped").write_all(&request.body);
    let output = backend.wait_with_output()?.stdout;
    sent?;

    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("a CGI answer has a head");
    let head = String::from_utf8_lossy(&output[..end]);
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let body = &output[end + 4..];
    write!(connection, "HTTP/1.1 {status}\r\n")?;
    for line in head.lines().filter(|line| !line.starts_with("Status: ")) {
        write!(connection, "{line}\r\n")?;
    }
    write!(connection, "Content-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    connection.write_all(body)
}

fn read_request(connection: &mut TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let line = read_line(&mut reader)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut reader)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, target, headers, body: Vec::new() };
    if request.header("expect").eq_ignore_ascii_case("100-continue") {
        connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if request.header("transfer-encoding") == "chunked" {
        loop {
            let size = usize::from_str_radix(read_line(&mut reader)?.trim(), 16).expect("a chunk begins with its size");
            let mut chunk = vec![0; size];
            reader.read_exact(&mut chunk)?;
            read_line(&mut reader)?;
            if size == 0 {
                break;
            }
            request.body.extend(chunk);
        }
    } else {
        request.body = vec![0; request.header("content-length").parse().unwrap_or(0)];
        reader.read_exact(&mut request.body)?;
    }
    Ok(request)
}

fn read_line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
