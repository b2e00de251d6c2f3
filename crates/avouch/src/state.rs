//! Mutable state: everything that may be lost without losing evidence (cursors, finding life, sessions, keys, alert outbox). One
//! SQLite file, `<data>/state.db`, one table of named values. What must be provable is an event in the vault as well (F3), so this
//! file can be rebuilt or, at worst, costs repeated deliveries.
//!
//! A table per kind was rejected: every reader here wants "all of a kind" or "one by key" and holds the rest in memory, and one
//! shape keeps PostgreSQL and upgrades trivial.

use crate::problem::Problem;
use sqlx::Row as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::path::Path;
use std::time::Duration;

/// Version of the table layout; a newer file is refused by an older binary.
pub const STATE_VERSION: i64 = 1;

/// What helps against a state file that cannot be used.
const START_EMPTY: &str = "move `state.db` away to start with empty state: evidence is not in it; cursors restart from the vault's copies";

#[derive(Clone)]
pub struct State {
    pool: SqlitePool,
}

impl State {
    /// Opens or creates the state file.
    ///
    /// # Errors
    /// `state.unreadable`, `state.newer`.
    pub async fn open(path: &Path) -> Result<State, Problem> {
        let bad = |e: &sqlx::Error| {
            Problem::new("state.unreadable", format!("cannot open the state file `{}`", path.display()))
                .because(e)
                .hint(START_EMPTY)
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        let pool =
            SqlitePoolOptions::new().max_connections(4).connect_with(options).await.map_err(|e| bad(&e))?;
        let version: i64 =
            sqlx::query("PRAGMA user_version").fetch_one(&pool).await.map_err(|e| bad(&e))?.get(0);
        if version > STATE_VERSION {
            return Err(Problem::new(
                "state.newer",
                format!(
                    "the state file `{}` has layout {version}; this avouch knows {STATE_VERSION}",
                    path.display()
                ),
            )
            .hint("start the newer avouch that wrote it, or restore the backup made before the upgrade"));
        }
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS state (kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID",
        )
        .execute(&pool)
        .await
        .map_err(|e| bad(&e))?;
        sqlx::query("PRAGMA user_version = 1").execute(&pool).await.map_err(|e| bad(&e))?;
        Ok(State { pool })
    }

    pub async fn get(&self, kind: &str, key: &str) -> Result<Option<Vec<u8>>, Problem> {
        let row = sqlx::query("SELECT value FROM state WHERE kind = ? AND key = ?")
            .bind(kind)
            .bind(key)
            .fetch_optional(&self.pool)
            .await
            .map_err(|e| failed(&e))?;
        Ok(row.map(|r| r.get(0)))
    }

    /// All values of a kind, by key.
    pub async fn list(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, Problem> {
        let rows = sqlx::query("SELECT key, value FROM state WHERE kind = ? ORDER BY key")
            .bind(kind)
            .fetch_all(&self.pool)
            .await
            .map_err(|e| failed(&e))?;
        Ok(rows.into_iter().map(|r| (r.get(0), r.get(1))).collect())
    }

    /// The same, read. A value that cannot be read is left out and said in the log: nothing here is evidence, and one bad row must not
    /// hide the others.
    pub async fn list_json<T: serde::de::DeserializeOwned>(
        &self,
        kind: &str,
    ) -> Result<Vec<(String, T)>, Problem> {
        let mut out = Vec::new();
        for (key, value) in self.list(kind).await? {
            match serde_json::from_slice(&value) {
                Ok(value) => out.push((key, value)),
                Err(e) => {
                    tracing::warn!(kind, key, error = %e, "a value of the state file cannot be read, it is left out");
                }
            }
        }
        Ok(out)
    }

    pub async fn put(&self, kind: &str, key: &str, value: &[u8]) -> Result<(), Problem> {
        self.put_many(&[(kind, key, Some(value))]).await
    }

    pub async fn delete(&self, kind: &str, key: &str) -> Result<(), Problem> {
        self.put_many(&[(kind, key, None)]).await
    }

    /// Sets (`Some`) or removes (`None`) several values in one transaction: a cursor moves together with what it accounts for.
    pub async fn put_many(&self, changes: &[(&str, &str, Option<&[u8]>)]) -> Result<(), Problem> {
        let mut tx = self.pool.begin().await.map_err(|e| failed(&e))?;
        for (kind, key, value) in changes {
            let query = match value {
                Some(v) => sqlx::query("INSERT OR REPLACE INTO state (kind, key, value) VALUES (?, ?, ?)")
                    .bind(*kind)
                    .bind(*key)
                    .bind(*v),
                None => sqlx::query("DELETE FROM state WHERE kind = ? AND key = ?").bind(*kind).bind(*key),
            };
            query.execute(&mut *tx).await.map_err(|e| failed(&e))?;
        }
        tx.commit().await.map_err(|e| failed(&e))
    }

    pub async fn get_json<T: serde::de::DeserializeOwned>(
        &self,
        kind: &str,
        key: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(bytes) = self.get(kind, key).await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            Problem::new("state.unreadable", format!("the stored {kind} `{key}` cannot be read"))
                .because(&e)
                .hint(START_EMPTY)
        })
    }

    pub async fn put_json<T: serde::Serialize>(
        &self,
        kind: &str,
        key: &str,
        value: &T,
    ) -> Result<(), Problem> {
        let bytes = serde_json::to_vec(value).map_err(|e| {
            Problem::new("internal.state", format!("cannot write {kind} `{key}`")).because(&e).defect()
        })?;
        self.put(kind, key, &bytes).await
    }

    pub async fn close(self) {
        self.pool.close().await;
    }
}

fn failed(e: &sqlx::Error) -> Problem {
    Problem::new("state.failed", "the state file could not be read or written")
        .because(e)
        .hint("`avouch doctor` checks disk space and permissions of the data folder")
}
