#include "cli/api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/props.h"
#include "base/str.h"
#include "cli/format.h"
#include "cli/sign.h"

#define PARAMS_MAX 256
#define ANSWER_MAX (1024 * 1024 * 1024)
#define KEY_FILE_MAX (64 * 1024)
#define TIMEOUT_S 60
#define EXPIRES_S 600

struct api {
	CURL *curl;
	char *socket; /* owned, as the others */
	char *url;
	char *api_key, *secret_key;
	char curl_error[CURL_ERROR_SIZE];
	bool is_terse;
	struct buf answer;
};

/* ---- the door ---- */

/* "http://host:8080" is enough: the path is always the same. */
static char *full_url(const char *url)
{
	const char *host = strstr(url, "://");
	const char *path = strchr(host ? host + 3 : url, '/');

	if (path && path[1])
		return mem_strdup(url);
	return mem_printf("%.*s/client/api", (int)(path ? (size_t)(path - url) : strlen(url)), url);
}

struct api *api_free(struct api *a)
{
	if (!a)
		return NULL;
	if (a->curl)
		curl_easy_cleanup(a->curl);
	if (a->secret_key)
		mem_wipe(a->secret_key, strlen(a->secret_key));
	mem_free(a->socket);
	mem_free(a->url);
	mem_free(a->api_key);
	mem_free(a->secret_key);
	buf_deinit(&a->answer);
	return mem_free(a);
}

static size_t on_data(char *data, size_t size, size_t n, void *user)
{
	struct api *a = user;

	if (a->answer.len + size * n > ANSWER_MAX || buf_put(&a->answer, data, size * n))
		return 0;
	return size * n;
}

static bool has_all(const struct api *a, const struct api_door *door)
{
	return a->curl && a->url && (!door->socket || a->socket) && (!door->api_key || a->api_key) &&
	       (!door->secret_key || a->secret_key);
}

enum err api_open(struct api **out, const struct api_door *door, struct why *why)
{
	struct api *a = mem_zalloc(sizeof(*a));

	if (!a)
		return ERR_NOMEM;
	if (door->socket && strlen(door->socket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		why_set(why, "the path of the socket is too long: %s", door->socket);
		api_free(a);
		return ERR_INVALID;
	}
	a->curl = curl_easy_init();
	a->is_terse = door->is_terse;
	a->socket = mem_strdup(door->socket);
	a->url = door->socket ? mem_strdup("http://localhost/client/api") : full_url(door->url);
	a->api_key = mem_strdup(door->api_key);
	a->secret_key = mem_strdup(door->secret_key);
	if (!has_all(a, door)) {
		api_free(a);
		return ERR_NOMEM;
	}
	curl_easy_setopt(a->curl, CURLOPT_URL, a->url);
	curl_easy_setopt(a->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(a->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(a->curl, CURLOPT_TIMEOUT, door->timeout_s ? door->timeout_s : (long)TIMEOUT_S);
	curl_easy_setopt(a->curl, CURLOPT_CONNECTTIMEOUT, 10L);
	curl_easy_setopt(a->curl, CURLOPT_ERRORBUFFER, a->curl_error);
	curl_easy_setopt(a->curl, CURLOPT_USERAGENT, "muster/" MUSTER_VERSION);
	curl_easy_setopt(a->curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(a->curl, CURLOPT_WRITEDATA, a);
	if (a->socket) {
		curl_easy_setopt(a->curl, CURLOPT_UNIX_SOCKET_PATH, a->socket);
		curl_easy_setopt(a->curl, CURLOPT_PROXY, "");
	}
	*out = a;
	return ERR_OK;
}

/* ---- one question ---- */

/* libcurl only says that it could not connect; a socket's own errno tells what to do. */
static enum err say_no_socket(const struct api *a, struct why *why)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int error;

	str_copy(address.sun_path, sizeof(address.sun_path), a->socket);
	error = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) ? errno : 0;
	if (fd >= 0)
		close(fd);
	if (error == EACCES || error == EPERM)
		why_set(why,
			"the socket %s may not be opened by this user; run muster as root or as the user of muster-server",
			a->socket);
	else
		why_set(why,
			"no management server answers on the socket %s (%s); start muster-server, or name its socket with --socket or a "
			"server with --url",
			a->socket, error ? strerror(error) : "the connection broke");
	return ERR_UNREACHABLE;
}

static enum err say_no_answer(const struct api *a, CURLcode code, struct why *why)
{
	const char *reason = *a->curl_error ? a->curl_error : curl_easy_strerror(code);

	if (code == CURLE_OPERATION_TIMEDOUT) {
		why_set(why, "the management server at %s took too long to answer; look at `muster status` and its log",
			a->socket ? a->socket : a->url);
		return ERR_TIMEOUT;
	}
	if (a->socket)
		return say_no_socket(a, why);
	why_set(why, "no management server answers at %s (%s); check the address, or name another server with --url",
		a->url, reason);
	return ERR_UNREACHABLE;
}

static const char *what_to_do(long status, const struct api *a)
{
	if (status == 401 && !a->socket)
		return "; check the keys, and the clocks of both machines";
	if (status == 432)
		return "; this server does not know the command, see `muster api listApis`";
	return "";
}

static enum err say_refusal(const struct api *a, const json_t *inside, long status, struct why *why)
{
	const char *text = json_text(inside, "errortext", "");
	int64_t code = json_number(inside, "cserrorcode", 0);
	const char *advice = what_to_do(status, a);
	size_t n = strlen(text);
	bool is_silent = !n;

	/* One sentence: what the server ends with a full stop goes on here. */
	if (n && text[n - 1] == '.')
		n--;
	if (!n) {
		text = "the server refused without a reason";
		n = strlen(text);
	}
	/* Who asks on the machine itself is a person; programs, and who searches between two machines, want the
	 * numbers. */
	if (a->is_terse && !is_silent)
		why_set(why, "%.*s%s", (int)n, text, advice);
	else if (code)
		why_set(why, "%.*s (HTTP %ld, error code %" JSON_INTEGER_FORMAT ")%s", (int)n, text, status,
			(json_int_t)code, advice);
	else
		why_set(why, "%.*s (HTTP %ld)%s", (int)n, text, status, advice);
	return ERR_REFUSED;
}

static enum err take_answer(struct api *a, json_t **out, long status, struct why *why)
{
	json_error_t error;
	json_t *body = json_loadb((const char *)a->answer.data, a->answer.len, 0, &error);
	json_t *inside = json_is_object(body) ? json_object_iter_value(json_object_iter(body)) : NULL;
	enum err e = ERR_OK;

	if (!json_is_object(inside)) {
		why_set(why, "what answers at %s (HTTP %ld) is not a management server's API",
			a->socket ? a->socket : a->url, status);
		e = ERR_MALFORMED;
	} else if (json_object_get(inside, "errorcode") || status != 200) {
		e = say_refusal(a, inside, json_number(inside, "errorcode", status), why);
	} else {
		*out = json_incref(inside);
	}
	json_decref(body);
	return e;
}

struct params {
	struct sign_param items[PARAMS_MAX];
	size_t n;
};

static bool params_add(struct params *p, const char *name, const char *value)
{
	if (p->n == PARAMS_MAX)
		return false;
	p->items[p->n++] = (struct sign_param){name, value};
	return true;
}

static enum err build_form(struct api *a, struct buf *form, const char *command, const struct api_arg *args,
			   struct why *why)
{
	struct params p = {.n = 0};
	CLEAN(mem_freep) char *signature = NULL;
	time_t now = time(NULL) + EXPIRES_S;
	char expires[40];
	struct tm tm;
	enum err e;
	bool fits = params_add(&p, "command", command) && params_add(&p, "response", "json");

	for (; fits && args && args->name; args++)
		fits = !args->value || params_add(&p, args->name, args->value);
	if (a->secret_key && fits) {
		gmtime_r(&now, &tm);
		strftime(expires, sizeof(expires), "%Y-%m-%dT%H:%M:%S+0000", &tm);
		fits = params_add(&p, "apiKey", a->api_key) && params_add(&p, "signatureVersion", "3") &&
		       params_add(&p, "expires", expires);
		if (fits && (e = sign_params(&signature, p.items, p.n, a->secret_key))) {
			why_set(why, "the request could not be signed: %s", err_text(e));
			return e;
		}
		fits = fits && params_add(&p, "signature", signature);
	}
	if (!fits) {
		why_set(why, "more than %d parameters", PARAMS_MAX);
		return ERR_TOO_BIG;
	}
	return form_encode(form, p.items, p.n);
}

enum err api_ask(struct api *a, json_t **out, const char *command, const struct api_arg *args, struct why *why)
{
	CLEAN(buf_deinit) struct buf form = {0};
	long status = 0;
	CURLcode code;
	enum err e = build_form(a, &form, command, args, why);

	if (e)
		return e;
	buf_clear(&a->answer);
	a->curl_error[0] = '\0';
	curl_easy_setopt(a->curl, CURLOPT_POSTFIELDS, (const char *)form.data);
	curl_easy_setopt(a->curl, CURLOPT_POSTFIELDSIZE, (long)form.len);
	code = curl_easy_perform(a->curl);
	if (code != CURLE_OK)
		return say_no_answer(a, code, why);
	curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &status);
	return take_answer(a, out, status, why);
}

/* ---- for commands ---- */

struct keys {
	char *url, *api_key, *secret_key;
};

static bool keys_read(const struct cli *c, const char *path, struct keys *out)
{
	CLEAN(buf_deinit) struct buf text = {0};
	struct props *p = NULL;
	struct why why = WHY_NONE;
	enum err e = file_read_any(path, KEY_FILE_MAX, &text, &why);

	if (!e)
		e = props_parse(&p, text.data, text.len, &why);
	if (e) {
		cli_fail(c, "the key file %s can't be read: %s", path, why_text(&why, e));
		return false;
	}
	out->url = mem_strdup(props_get(p, "url"));
	out->api_key = mem_strdup(props_get(p, "apikey"));
	out->secret_key = mem_strdup(props_get(p, "secretkey"));
	props_free(p);
	if (!out->api_key || !out->secret_key) {
		cli_fail(
			c,
			"the key file %s needs the lines apikey=... and secretkey=..., as `muster account create` writes them",
			path);
		return false;
	}
	return true;
}

static const char *environment(const char *name, const char *other)
{
	const char *value = getenv(name);

	if (str_is_blank(value) && other)
		value = getenv(other);
	return str_is_blank(value) ? NULL : value;
}

static struct api *open_url(struct cli *c, const char *url, const struct keys *keys)
{
	struct api_door door = {
		.url = url ? url : keys->url,
		.api_key = keys->api_key ? keys->api_key : environment("MUSTER_API_KEY", "CLOUDSTACK_KEY"),
		.secret_key =
			keys->secret_key ? keys->secret_key : environment("MUSTER_SECRET_KEY", "CLOUDSTACK_SECRET"),
	};
	struct why why = WHY_NONE;
	struct api *a = NULL;
	enum err e;

	if (!door.url) {
		c->is_misused = true;
		cli_misuse(c, "keys need an address: give --url http://SERVER:8080, or a line url=... in the key file");
		return NULL;
	}
	if (!door.api_key || !door.secret_key) {
		c->is_misused = true;
		cli_misuse(c, "%s needs keys: give --api-key-file FILE, or set MUSTER_API_KEY and MUSTER_SECRET_KEY",
			   door.url);
		return NULL;
	}
	e = api_open(&a, &door, &why);
	if (e)
		cli_fail(c, "%s", why_text(&why, e));
	return a;
}

static struct api *open_socket(struct cli *c, const char *path)
{
	struct api_door door = {.socket = path, .is_terse = !c->json && !c->wants_codes};
	struct why why = WHY_NONE;
	struct api *a = NULL;
	enum err e = api_open(&a, &door, &why);

	if (e)
		cli_fail(c, "%s", why_text(&why, e));
	return a;
}

/* What is on the command line comes before the environment, a socket before a URL. */
static struct api *open_door(struct cli *c)
{
	const char *socket = c->socket;
	const char *url = c->url;
	const char *key_file = c->key_file;
	struct keys keys = {0};
	struct api *a = NULL;

	if (socket && (url || key_file)) {
		c->is_misused = true;
		cli_misuse(c, "--socket and --url are two doors: give one of them");
		return NULL;
	}
	if (!socket && !url && !key_file)
		socket = environment("MUSTER_SOCKET", NULL);
	if (!socket && !url)
		url = environment("MUSTER_URL", "CLOUDSTACK_ENDPOINT");
	if (!key_file)
		key_file = environment("MUSTER_API_KEY_FILE", NULL);
	if (!socket && !url && !c->key_file)
		socket = API_SOCKET_DEFAULT;
	if (socket)
		return open_socket(c, socket);
	if (!key_file || keys_read(c, key_file, &keys))
		a = open_url(c, url, &keys);
	if (keys.secret_key)
		mem_wipe(keys.secret_key, strlen(keys.secret_key));
	mem_free(keys.url);
	mem_free(keys.api_key);
	mem_free(keys.secret_key);
	return a;
}

struct api *cli_api(struct cli *c)
{
	if (!c->api)
		c->api = open_door(c);
	return c->api;
}

json_t *cli_ask_as(struct cli *c, const char *command, const struct api_arg *args, const char *parameter,
		   const char *option)
{
	struct api *a = cli_api(c);
	struct why why = WHY_NONE;
	json_t *answer = NULL;
	const char *said, *at;
	enum err e;

	if (!a)
		return NULL;
	e = api_ask(a, &answer, command, args, &why);
	if (!e)
		return answer;
	said = why_text(&why, e);
	at = parameter ? strstr(said, parameter) : NULL;
	if (at)
		cli_fail(c, "%.*s%s%s", (int)(at - said), said, option, at + strlen(parameter));
	else
		cli_fail(c, "%s", said);
	return NULL;
}

json_t *cli_ask(struct cli *c, const char *command, const struct api_arg *args)
{
	return cli_ask_as(c, command, args, NULL, NULL);
}

#define LIST_ARGS_MAX 16

/* The first page shows how long pages are here: a size of our own could be over the server's limit. */
json_t *cli_list_with(struct cli *c, const char *command, const char *key, const struct api_arg *args, json_t **first)
{
	struct api_arg all[LIST_ARGS_MAX + 3] = {{NULL, NULL}};
	json_t *items = or_die(json_array());
	char page_text[24], size_text[24];
	size_t n = 0, size = 0;

	for (; args && args[n].name && n < LIST_ARGS_MAX; n++)
		all[n] = args[n];
	for (size_t page = 1;; page++) {
		json_t *answer = cli_ask(c, command, all);
		json_t *some = answer ? json_object_get(answer, key) : NULL;
		size_t count = answer ? (size_t)json_number(answer, "count", 0) : 0;

		size_t n_some = json_array_size(some);

		if (!answer) {
			json_decref(items);
			if (page > 1 && first)
				json_decref(*first);
			return NULL;
		}
		if (some)
			json_array_extend(items, some);
		if (page == 1)
			size = n_some;
		if (page == 1 && first) {
			json_object_del(answer, key);
			*first = json_incref(answer);
		}
		json_decref(answer);
		if (!n_some || json_array_size(items) >= count)
			return items;
		snprintf(page_text, sizeof(page_text), "%zu", page + 1);
		snprintf(size_text, sizeof(size_text), "%zu", size);
		all[n] = (struct api_arg){"page", page_text};
		all[n + 1] = (struct api_arg){"pagesize", size_text};
	}
}

json_t *cli_list(struct cli *c, const char *command, const char *key, const struct api_arg *args)
{
	return cli_list_with(c, command, key, args, NULL);
}

enum { JOB_RUNNING, JOB_DONE };
#define JOB_FIRST_LOOK_MS 100
#define JOB_LOOK_MAX_MS 2000

static void wait_ms(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

static void job_failed(struct cli *c, const json_t *job, const json_t *result)
{
	const char *text = json_text(result, "errortext", "the job failed without a reason");
	int64_t code = json_number(result, "errorcode", json_number(job, "jobresultcode", 530));

	if (c->api->is_terse)
		cli_fail(c, "%s", text);
	else
		cli_fail(c, "%s (error code %" JSON_INTEGER_FORMAT ")", text, (json_int_t)code);
}

static json_t *job_result(struct cli *c, const char *id)
{
	for (long ms = JOB_FIRST_LOOK_MS;; ms = ms * 2 < JOB_LOOK_MAX_MS ? ms * 2 : JOB_LOOK_MAX_MS) {
		json_t *job = cli_ask(c, "queryAsyncJobResult", API_ARGS({"jobid", id}));
		json_t *result = job ? json_object_get(job, "jobresult") : NULL;
		int64_t status = job ? json_number(job, "jobstatus", JOB_RUNNING) : 0;

		if (!job)
			return NULL;
		if (status == JOB_DONE) {
			result = result ? json_incref(result) : or_die(json_object());
		} else if (status != JOB_RUNNING) {
			job_failed(c, job, result);
			result = NULL;
		}
		json_decref(job);
		if (status != JOB_RUNNING)
			return result;
		wait_ms(ms);
	}
}

json_t *cli_job(struct cli *c, const char *command, const struct api_arg *args, bool wait)
{
	json_t *answer = cli_ask(c, command, args);
	const char *id = answer ? json_text(answer, "jobid", NULL) : NULL;
	json_t *result;

	if (!id || !wait)
		return answer;
	result = job_result(c, id);
	json_decref(answer);
	return result;
}

/* ---- members ---- */

const char *json_text(const json_t *object, const char *key, const char *fallback)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : fallback;
}

int64_t json_number(const json_t *object, const char *key, int64_t fallback)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? (int64_t)json_integer_value(value) : fallback;
}

bool json_flag(const json_t *object, const char *key, bool fallback)
{
	const json_t *value = json_object_get(object, key);

	return json_is_boolean(value) ? json_is_true(value) : fallback;
}

json_t *json_listing(const char *key, json_t *take_array)
{
	json_int_t n = (json_int_t)json_array_size(take_array);

	return or_die(json_pack("{s:I,s:o}", "count", n, key, take_array));
}

char *json_joined(const json_t *array, const char *separator)
{
	CLEAN(str_list_deinit) struct str_list list = {0};
	size_t i;
	json_t *item;

	json_array_foreach (array, i, item) {
		if (json_is_string(item) && str_list_add(&list, json_string_value(item)))
			or_die(NULL);
	}
	return or_die(str_list_join(&list, separator));
}
