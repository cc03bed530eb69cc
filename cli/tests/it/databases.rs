//! Databases as sources, against a real server; what `psql` says is what a table must hold.

mod bookmark;
mod relations;
mod server;
mod values;

use std::process::Command;
use std::time::{Duration, Instant};

use server::{PASSWORD, Server};

use crate::submissions::Cluster;
use crate::support::{Answer, Scene};

/// A project over `[databases.shop]` with one table and one job that takes all of its columns.
struct Shop {
    scene: Scene,
    server: Server,
}

impl Shop {
    fn new(tables: &str) -> Self {
        Self::over(Server::start(), "", tables)
    }

    fn over(server: Server, options: &str, tables: &str) -> Self {
        let scene = Scene::empty();
        let head = format!("[databases.shop]\nurl = \"{}\"\npassword = \"env:SHOP\"\n{options}\n", server.url());
        std::fs::write(scene.project.join("sources.toml"), format!("{head}{tables}")).unwrap();
        Self { scene, server }
    }

    fn call(&self, arguments: &[&str]) -> Answer {
        self.call_with(arguments, &[])
    }

    fn call_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Answer {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        self.scene.start(command).wait()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.scene.command(arguments);
        command.env("SHOP", PASSWORD);
        command
    }

    #[track_caller]
    fn run(&self) -> Answer {
        self.call(&["run", "--all"]).ok()
    }

    /// Rows as CSV, sorted.
    #[track_caller]
    fn rows(&self, sql: &str) -> Vec<String> {
        let answer = self.call(&["--output", "csv", "query", sql]).ok();
        let mut lines: Vec<String> = answer.stdout.lines().skip(1).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// The table holds what the database holds, as whole numbers and text.
    #[track_caller]
    fn agrees(&self, ours: &str, theirs: &str) {
        assert_eq!(self.rows(ours), self.server.sql(&format!("copy ({theirs}) to stdout with (format csv)")));
    }
}

const ORDERS: &str = "[databases.shop.tables.orders]\ncolumns = [{ name = \"id\", type = \"bigint\", required = true }, \
                      { name = \"item\", type = \"string\" }, { name = \"amount\", type = \"decimal(12,2)\" }]\n";

fn whole(sink: &str) -> Shop {
    let shop = Shop::new(ORDERS);
    shop.server.sql("create table orders (id bigint, item text, amount numeric(12,2))");
    let query = "select id, item, amount, source_file from raw.orders";
    shop.scene.job("bronze.orders", &format!("grain = [\"id\"]\n{sink}\n"), query);
    shop
}

#[test]
fn a_table_that_is_read_whole_is_what_the_database_holds() {
    for sink in ["[sink.append]", "[sink.overwrite]", "[sink.merge]\nkeys = [\"id\"]"] {
        let shop = whole(sink);
        let same = || shop.agrees("select id, item, amount from bronze.orders", "select id, item, amount from orders");
        let plan = |texts: &[&str]| {
            let plan = shop.call(&["plan", "--all"]).ok().stdout;
            texts.iter().for_each(|text| assert!(plan.contains(text), "{sink}: {plan}"));
        };
        plan(&["the table does not exist yet"]);
        shop.run();
        same();
        for change in [
            "insert into orders select n, 'item ' || n, n * 1.25 from generate_series(1, 500) n",
            "update orders set amount = -amount where id % 7 = 0",
            "delete from orders where id % 3 = 0",
            "insert into orders values (1000, '', null), (1001, null, 0.01), (1002, E'a\\nb\\t\"c\"\\\\d \\u00e4 \\U0001F600', 9999999999.99)",
            "truncate orders",
            "insert into orders values (1, 'again', 1)",
        ] {
            plan(&["nothing"]);
            shop.run().says(&["nothing was committed"]);
            shop.server.sql(change);
            plan(&["the database may have changed"]);
            shop.run();
            let known = shop.rows("select id, coalesce('<' || item || '>', '~'), amount from bronze.orders");
            let found = shop.server.sql(
                "copy (select id, coalesce('<' || item || '>', '~'), amount from orders) to stdout with (format csv)",
            );
            // Text of several lines is sorted by its lines in both.
            assert_eq!(known, found, "{sink}: {change}");
        }
        // A change of nothing: read again, and nothing is committed.
        shop.server.sql("update orders set id = id");
        shop.run().says(&["nothing was committed"]);
    }
}

/// A database that is not as declared, or cannot be reached.
#[test]
fn mistakes_are_one_clear_error() {
    let shop = whole("[sink.append]");
    let sources = std::fs::read_to_string(shop.scene.project.join("sources.toml")).unwrap();
    let with = |from: &str, to: &str| {
        assert!(sources.contains(from), "{from}");
        std::fs::write(shop.scene.project.join("sources.toml"), sources.replace(from, to)).unwrap();
    };
    shop.server.sql("create table other (id bigint, item inet, amount numeric(12,2), b text)");
    for (from, to, texts) in [
        (
            "tables.orders]",
            "tables.orders]\ntable = \"public.ordres\"",
            &["raw.orders", "no table `public.ordres`", "check `table`"][..],
        ),
        (
            "tables.orders]",
            "tables.orders]\nrename = { item = \"thing\" }",
            &["the database has no column `thing`", "`item`", "`rename`"],
        ),
        ("\"decimal(12,2)\"", "\"double\"", &["column `amount` cannot be read as `double`", "numeric", "decimal(p,s)"]),
        ("tables.orders]", "tables.orders]\ntable = \"other\"", &["column `item`", "inet", "cast it in `query`"]),
        ("tables.orders]", "tables.orders]\nquery = \"selec 1\"", &["raw.orders", "syntax error"]),
        (
            "tables.orders]",
            "tables.orders]\ntable = \"other\"\nbookmark = \"b\"\nmargin = 1",
            &["`bookmark`: `b` is a `text`"],
        ),
        ("/postgres\"", "/nothing\"", &["database \"nothing\" does not exist", "check the database in `url`"]),
        ("reader@", "nobody@", &["password authentication failed", "`password` refers to"]),
        ("env:SHOP", "env:NO_SUCH", &["password is not there", "variable NO_SUCH"]),
        (
            "env:SHOP\"\n",
            "env:SHOP\"\nsslmode = \"verify-full\"\n",
            &["does not support TLS", "`sslmode = \"disable\"`"],
        ),
    ] {
        with(from, to);
        for (command, code) in [(["plan", "--all"], 2), (["run", "--all"], 1)] {
            let answer = shop.call(&command);
            assert_eq!(answer.status.code(), Some(code), "{to}: {}", answer.stderr);
            let words = format!("{}{}", answer.stdout, answer.stderr);
            texts.iter().for_each(|text| assert!(words.contains(text), "{command:?} {to}: `{text}` is not in {words}"));
            assert!(!words.contains(PASSWORD), "{words}");
        }
    }
    with("reader@", "reader@");
    let wrong = shop.call_with(&["plan", "--all"], &[("SHOP", "hunter2")]);
    assert!(
        wrong.stderr.contains("password authentication failed") && !wrong.stderr.contains("hunter2"),
        "{}",
        wrong.stderr
    );
    with("reader@127", "reader:hunter2@127");
    let secret = shop.call(&["check"]);
    assert!(secret.stderr.contains("holds a password") && !secret.stderr.contains("hunter2"), "{}", secret.stderr);
    let closed = format!(":{}/", crate::support::free_port());
    with(&format!(":{}/", shop.server.port), &closed);
    shop.call(&["plan", "--all"]).says(&["connect to `databases.shop`", "refused", "check host and port"]);
}

/// Whether a certificate is for the host is what tells a server from one in its way.
#[test]
fn the_server_must_be_the_one_that_the_certificate_names() {
    let server = Server::start_with(|folder| {
        let openssl = |arguments: &[&str]| {
            let made = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        let new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
        openssl(
            &[
                &new[..],
                &[
                    "-keyout",
                    "ca.key",
                    "-out",
                    "ca.pem",
                    "-subj",
                    "/CN=test root",
                    "-addext",
                    "basicConstraints=critical,CA:TRUE",
                ],
            ]
            .concat(),
        );
        openssl(&[&new[..], &["-keyout", "other.key", "-out", "other.pem", "-subj", "/CN=other root"]].concat());
        openssl(&[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
            "-subj",
            "/CN=localhost",
        ]);
        std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").unwrap();
        openssl(&[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-out",
            "server.pem",
            "-extfile",
            "names",
        ]);
        let open = Command::new("chown")
            .arg("--reference")
            .arg(folder)
            .args(["server.key", "server.pem"])
            .current_dir(folder)
            .status()
            .unwrap();
        assert!(open.success());
        let at = |name: &str| folder.join(name).display().to_string();
        vec![
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", at("server.pem")),
            format!("ssl_key_file={}", at("server.key")),
        ]
    });
    let (root, other) = (server.path("ca.pem"), server.path("other.pem"));
    let tls = format!("sslmode = \"verify-full\"\nroot_certificate = \"{}\"", root.display());
    let shop = Shop::over(server, &tls, ORDERS);
    shop.server
        .sql("create table orders (id bigint, item text, amount numeric(12,2)); insert into orders values (1, 'a', 1)");
    shop.scene.job(
        "bronze.orders",
        "grain = [\"id\"]\n[sink.append]\n",
        "select id, item, amount, source_file from raw.orders",
    );
    // The certificate names `localhost`.
    shop.call(&["plan", "--all"]).says(&["certificate", "`root_certificate`"]);
    let sources =
        std::fs::read_to_string(shop.scene.project.join("sources.toml")).unwrap().replace("127.0.0.1", "localhost");
    std::fs::write(shop.scene.project.join("sources.toml"), &sources).unwrap();
    shop.run();
    assert_eq!(shop.rows("select id, item from bronze.orders"), ["1,a"]);
    let untrusted = sources.replace(&root.display().to_string(), &other.display().to_string());
    std::fs::write(shop.scene.project.join("sources.toml"), untrusted).unwrap();
    shop.call(&["plan", "--all"]).says(&["certificate", "`root_certificate`"]);
    // Those of the machine do not hold it either.
    let of_machine = sources.replace(&format!("root_certificate = \"{}\"", root.display()), "");
    std::fs::write(shop.scene.project.join("sources.toml"), of_machine).unwrap();
    shop.call(&["plan", "--all"]).says(&["certificate", "`root_certificate`"]);
}

/// Transactions move amounts between rows, and rows between pages: whatever the moment, number and sum are the same.
#[test]
fn all_connections_see_one_moment() {
    let table = "[databases.shop.tables.accounts]\ncolumns = [{ name = \"id\", type = \"bigint\" }, { name = \"amount\", type = \"bigint\" }]\n";
    let shop = Shop::new(table);
    // Few rows a page: more pages than one query reads.
    shop.server.sql(
        "create table accounts (id bigint primary key, amount bigint, filler text) with (fillfactor = 10); \
         insert into accounts select n, 1000, repeat('x', 400) from generate_series(1, 12000) n",
    );
    assert_eq!(shop.server.sql("select pg_relation_size('accounts') / 8192 > 2 * 4096"), ["t"]);
    // Both land the same source at the same time, and one of them does so again.
    for name in ["bronze.accounts", "bronze.again"] {
        shop.scene.job(name, "grain = [\"id\"]\n[sink.overwrite]\n", "select id, amount from raw.accounts");
    }
    // Rows 12001 to 12500 move, and no transfer is about them: it would miss a row that has just gone.
    shop.server.sql("insert into accounts select n, 0, repeat('x', 400) from generate_series(12001, 12500) n");
    // In a subquery, `random()` is one value a statement and not one a row.
    let transfer = "with one as materialized (select (random() * 5999)::int + 1 as id) update accounts set amount = amount + case when \
                  accounts.id > 6000 then 7 else -7 end from one where accounts.id in (one.id, one.id + 6000);\n\
                  begin; with gone as (delete from accounts where id = (select (random() * 499)::int + 12001) returning id, amount) \
                  insert into accounts select id, amount from gone; commit;\n";
    let _writers = [shop.server.repeat(transfer), shop.server.repeat(transfer)];
    let mut seen = Vec::new();
    for _ in 0..3 {
        shop.run();
        for name in ["bronze.accounts", "bronze.again"] {
            let sums = format!("select count(*), count(distinct id), sum(amount) from {name}");
            assert_eq!(shop.rows(&sums), ["12500,12500,12000000"], "{name}");
        }
        seen.push(shop.rows("select sum(amount * id) from bronze.accounts"));
    }
    seen.dedup();
    assert!(seen.len() > 1, "nobody wrote: {seen:?}");
    assert_eq!(
        shop.server.sql("select count(*) || ',' || sum(amount) from accounts"),
        ["12500,12000000"],
        "the writers"
    );
}

#[test]
fn a_run_that_is_cancelled_ends_its_queries() {
    let slow = "[databases.shop.tables.slow]\nquery = \"select n::bigint as id, pg_sleep(0.01)::text as s from generate_series(1, 100000) n\"\n\
                columns = [{ name = \"id\", type = \"bigint\" }]\n";
    let shop = Shop::new(slow);
    shop.scene.job("bronze.slow", "grain = [\"id\"]\n[sink.append]\n", "select id, source_file from raw.slow");
    let ours = || shop.server.sql("select count(*) from pg_stat_activity where application_name = 'pulse'")[0].clone();
    let busy = || {
        shop.server.sql("select count(*) from pg_stat_activity where application_name = 'pulse' and query like 'copy%' and state = 'active'")[0].clone()
    };
    let wait = |what: &dyn Fn() -> String, wanted: &str| {
        let began = Instant::now();
        while what() != wanted {
            assert!(began.elapsed() < Duration::from_secs(60), "{}", ours());
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    for signal in ["-INT", "-KILL"] {
        let running = shop.scene.start(shop.command(&["run", "--all"]));
        wait(&busy, "1");
        assert!(Command::new("kill").args([signal, &running.child.id().to_string()]).status().unwrap().success());
        let answer = running.wait();
        assert!(!answer.status.success());
        wait(&ours, "0");
    }
}

/// Executors have neither the password nor anything else of the database.
#[test]
fn executors_need_no_way_to_the_database() {
    let shop = whole("[sink.append]");
    shop.server.sql("insert into orders select n, 'item ' || n, n * 1.25 from generate_series(1, 500) n");
    let cluster = Cluster::start_with(&shop.scene, &[("SHOP", PASSWORD), ("PULSE_ALLOWED_DATABASES", "*")]);
    let submit = || {
        // Nor has the client.
        let mut command = shop.scene.command(&["submit", "--all", "--wait", "--on", "cluster"]);
        cluster.reach(&mut command);
        shop.scene.start(command).wait().ok()
    };
    submit();
    shop.server.sql("delete from orders where id % 3 = 0; update orders set item = 'other' where id % 5 = 0");
    submit();
    shop.agrees("select id, item, amount from bronze.orders", "select id, item, amount from orders");
    submit().says(&["nothing was committed"]);
}
