/*
 * Jobs that run in the background, and events for people.
 */
#include "base/mem.h"
#include "store/sql.h"

#define JOB_RUNNING 0
#define JOB_FAILED 2
#define CODE_SERVER_GONE 530 /* what the API answers for a job whose server died */

/* clang-format off */
#define JOB_FIELDS(A, F)                                                                             \
	A(ID, id) F(UUID, uuid) F(TEXT, command) F(TEXT, account) F(NUMBER, msid) F(NUMBER, status)  \
	F(NUMBER, result_code) F(TEXT, result) F(TEXT, instance_type) F(TEXT, instance_id)           \
	F(NUMBER, created_ms) F(NUMBER, completed_ms)
#define EVENT_FIELDS(A, F)                                                                           \
	A(ID, id) F(UUID, uuid) F(TEXT, type) F(TEXT, level) F(TEXT, description) F(TEXT, account)   \
	F(NUMBER, host_id) F(NUMBER, msid) F(NUMBER, created_ms)
/* clang-format on */
#define FIELD(kind, member) SQL_FIELD(job_row, kind, member),
static const struct sql_field job_fields[] = {JOB_FIELDS(FIELD, FIELD)};
#undef FIELD
#define FIELD(kind, member) SQL_FIELD(event_row, kind, member),
static const struct sql_field event_fields[] = {EVENT_FIELDS(FIELD, FIELD)};
#undef FIELD
static const struct sql_shape job_shape = SQL_SHAPE(job_row, job_fields);
static const struct sql_shape event_shape = SQL_SHAPE(event_row, event_fields);

/* ---- jobs ---- */

void job_row_deinit(struct job_row *r)
{
	sql_row_deinit(&job_shape, r);
}

enum err store_job_add(struct store_tx *tx, struct job_row *row)
{
	struct job_row made = *row; /* texts borrowed */
	enum err e;

	made.id = 0;
	if (!made.created_ms)
		made.created_ms = tx->wall_ms;
	e = sql_insert(tx, SQL_INSERT("async_job", JOB_FIELDS), &job_shape, &made);
	if (e)
		return e == ERR_EXISTS ? tx_say(tx, e, "there is a job %s already", row->uuid) : e;
	made.id = sql_last_id(tx);
	e = change_add(tx, CHANGE_JOB, made.id);
	if (!e)
		*row = made;
	return e;
}

static enum err job_end(struct store_tx *tx, int64_t id, int64_t status, int64_t code, const char *result)
{
	enum err e = sql_run(
		tx, "UPDATE async_job SET status = ?, result_code = ?, result = ?, completed_ms = ? WHERE id = ?",
		SQL_N(status), SQL_N(code), SQL_T(result), SQL_N(tx->wall_ms), SQL_N(id));

	return e ? e : change_add(tx, CHANGE_JOB, id);
}

/* A job ends once: what its askers were told stays true when its server turns out to be alive. */
enum err store_job_finish(struct store_tx *tx, const char *uuid, int64_t status, int64_t code, const char *result)
{
	struct job_row job;
	enum err e = store_job_get(tx, uuid, &job);

	if (e)
		return e;
	if (job.status != JOB_RUNNING)
		e = tx_say(tx, ERR_STATE, "job %s has ended already", uuid);
	if (!e)
		e = job_end(tx, job.id, status, code, result);
	job_row_deinit(&job);
	return e;
}

enum err store_job_get(struct store_tx *tx, const char *uuid, struct job_row *out)
{
	enum err e = sql_one(tx, &job_shape, out, "SELECT " SQL_COLUMNS(JOB_FIELDS) " FROM async_job WHERE uuid = ?",
			     SQL_T(uuid));

	return e == ERR_NOT_FOUND ? tx_say(tx, e, "there is no job %s", uuid) : e;
}

enum err store_jobs_fail_of(struct store_tx *tx, int64_t msid, const char *result, size_t *n)
{
	struct job_row *jobs = NULL;
	size_t count = 0;
	enum err e =
		sql_all(tx, &job_shape, &jobs, &count,
			"SELECT " SQL_COLUMNS(JOB_FIELDS) " FROM async_job WHERE msid = ? AND status = 0 ORDER BY id",
			SQL_N(msid));

	for (size_t i = 0; i < count; i++) {
		if (!e)
			e = job_end(tx, jobs[i].id, JOB_FAILED, CODE_SERVER_GONE, result);
		job_row_deinit(&jobs[i]);
	}
	mem_free(jobs);
	if (!e)
		*n = count;
	return e;
}

enum err store_jobs_running(struct store_tx *tx, int64_t msid, size_t *n)
{
	int64_t count = 0;
	enum err e =
		sql_read(tx, &count, 0, "SELECT count(*) FROM async_job WHERE msid = ? AND status = 0", SQL_N(msid));

	*n = (size_t)count;
	return e;
}

enum err store_job_results(struct store_tx *tx, const char *begins, struct job_row **rows, size_t *n)
{
	return sql_all(tx, &job_shape, rows, n,
		       "SELECT " SQL_COLUMNS(
			       JOB_FIELDS) " FROM async_job"
					   " WHERE status <> 0 AND substr(result, 1, length(?1)) = ?1 ORDER BY id",
		       SQL_T(begins));
}

enum err store_job_result_set(struct store_tx *tx, int64_t id, const char *result)
{
	return sql_run(tx, "UPDATE async_job SET result = ? WHERE id = ?", SQL_T(result), SQL_N(id));
}

/* Running jobs stay, however old. */
enum err store_jobs_trim(struct store_tx *tx, int64_t before_ms)
{
	return sql_run(tx, "DELETE FROM async_job WHERE status <> 0 AND completed_ms < ?", SQL_N(before_ms));
}

/* ---- events ---- */

void event_row_deinit(struct event_row *r)
{
	sql_row_deinit(&event_shape, r);
}

enum err store_event_add(struct store_tx *tx, const struct event_row *row)
{
	struct event_row made = *row; /* texts borrowed */

	made.id = 0;
	if (!made.created_ms)
		made.created_ms = tx->wall_ms;
	return sql_insert(tx, SQL_INSERT("event", EVENT_FIELDS), &event_shape, &made);
}

enum err store_event_list(struct store_tx *tx, size_t limit, struct event_row **rows, size_t *n)
{
	return sql_all(tx, &event_shape, rows, n,
		       "SELECT " SQL_COLUMNS(EVENT_FIELDS) " FROM event ORDER BY id DESC LIMIT ?",
		       SQL_N((int64_t)limit));
}

enum err store_events_trim(struct store_tx *tx, size_t keep)
{
	return sql_run(tx, "DELETE FROM event WHERE id <= (SELECT id FROM event ORDER BY id DESC LIMIT 1 OFFSET ?)",
		       SQL_N((int64_t)keep));
}
