/* muster ca rotate, against servers in each phase. */
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "muster_run.h"

/* clang-format off */
#define CA(print_) "{\"subject\":\"ca\",\"fingerprint\":\"" print_ "00112233445566778899aabbccddeeff\"," \
	"\"notbefore\":\"2026-01-01T00:00:00+0000\",\"notafter\":\"2056-01-01T00:00:00+0000\"}"
#define SINCE "\"since\":\"2026-01-15T08:00:02+0000\",\"by\":\"admin\","
#define COUNTS(s_, h_, servers_, hosts_) "\"servers\":3,\"hosts\":12,\"serversbehind\":" s_ ",\"hostsbehind\":" h_ "," \
	"\"serverlist\":[" servers_ "],\"hostlist\":[" hosts_ "],\"frozen\":false"
#define ROTATION(text_) "{\"carotation\":{" text_ "}}}"
#define LIST(text_) {"listCaRotation", NULL, 0, "{\"listcarotationresponse\":" ROTATION(text_)}
#define ADVANCE(phase_) {"advanceCaRotation", "phase=" phase_ "\n", 0, "{\"advancecarotationresponse\":" ROTATION("\"phase\":\"x\"")}

#define LAGGARD(i_) "{\"id\":\"u" i_ "\",\"name\":\"H" i_ "\\u001b[2J\",\"state\":\"Up\",\"why\":\"has not confirmed the CA certificates in force\"}"

static const struct fake_answer none[] = {
	LIST("\"phase\":\"none\",\"next\":\"trust\",\"signs\":" CA("aa") ",\"othertrusted\":false," COUNTS("0", "0", "", "")),
	{"advanceCaRotation", "phase=none\nprepared=none\n", 0, "{\"advancecarotationresponse\":" ROTATION("\"phase\":\"x\"")}, {NULL}};
#define PREPARED "\"prepared\":{\"subject\":\"machines\\u001b[2J\",\"issuer\":\"CN=company root\",\"key\":\"RSA\",\"keybits\":2048," \
	"\"fingerprint\":\"cc00112233445566778899aabbccddeeff\",\"notbefore\":\"2026-01-01T00:00:00+0000\",\"notafter\":\"2031-01-01T00:00:00+0000\"},"
static const struct fake_answer prepared[] = {
	LIST("\"phase\":\"none\",\"next\":\"trust\",\"signs\":" CA("aa") "," PREPARED "\"othertrusted\":false," COUNTS("0", "0", "", "")),
	{"advanceCaRotation", "phase=none\nprepared=cc00112233445566778899aabbccddeeff\n", 0, "{\"advancecarotationresponse\":" ROTATION("\"phase\":\"x\"")},
	{"discardPreparedCa", NULL, 0, "{\"discardpreparedcaresponse\":" ROTATION("\"phase\":\"none\",\"signs\":" CA("aa"))}, {NULL}};
static const struct fake_answer back[] = {
	LIST("\"phase\":\"trust\"," SINCE "\"next\":\"issue\",\"back\":\"none\",\"signs\":" CA("aa") ",\"other\":" CA("bb")
	     ",\"otherwasprepared\":true,\"othertrusted\":true," COUNTS("0", "0", "", "")),
	{"revertCaRotation", "phase=trust\n", 0, "{\"revertcarotationresponse\":" ROTATION("\"phase\":\"none\"")}, {NULL}};
static const struct fake_answer behind[] = {
	LIST("\"phase\":\"trust\"," SINCE "\"next\":\"issue\",\"back\":\"none\",\"signs\":" CA("aa") ",\"other\":" CA("bb")
	     ",\"othertrusted\":true," COUNTS("1", "12", "{\"id\":\"s1\",\"name\":\"M1\",\"state\":\"Up\",\"why\":\"has not confirmed the CA certificates in force\"}",
	     LAGGARD("1") "," LAGGARD("2") "," LAGGARD("3") "," LAGGARD("4") "," LAGGARD("5") "," LAGGARD("6") "," LAGGARD("7") "," LAGGARD("8") ","
	     LAGGARD("9") "," LAGGARD("10") "," LAGGARD("11") "," LAGGARD("12"))),
	{"revertCaRotation", "phase=trust\n", 0, "{\"revertcarotationresponse\":" ROTATION("\"phase\":\"none\"")}, {NULL}};
static const struct fake_answer ready[] = {
	LIST("\"phase\":\"issue\"," SINCE "\"next\":\"drop\",\"back\":\"trust\",\"signs\":" CA("bb") ",\"other\":" CA("aa")
	     ",\"othertrusted\":true," COUNTS("0", "0", "", "")),
	ADVANCE("issue"), {NULL}};
static const struct fake_answer stolen[] = {
	LIST("\"phase\":\"issue\"," SINCE "\"next\":\"drop\",\"back\":\"trust\",\"signs\":" CA("bb") ",\"other\":" CA("aa")
	     ",\"othertrusted\":true,\"compromised\":true," COUNTS("0", "0", "", "")),
	ADVANCE("issue"), {NULL}};
static const struct fake_answer dropped[] = {
	LIST("\"phase\":\"drop\"," SINCE "\"next\":\"none\",\"back\":\"issue\",\"signs\":" CA("bb") ",\"other\":" CA("aa")
	     ",\"othertrusted\":false," COUNTS("0", "0", "", "")),
	ADVANCE("drop"), {NULL}};
static const struct fake_answer external[] = {
	{"listCaRotation", NULL, 530, "{\"listcarotationresponse\":{\"uuidList\":[],\"errorcode\":530,\"cserrorcode\":4250,\"errortext\":\"The CA is an external one\"}}"},
	{NULL}};
/* clang-format on */

static void what_is_shown(void **state)
{
	static const struct {
		const char *words;
		const struct fake_answer *answers;
		const char *golden; /* NULL: nothing on stdout */
		int exit_code;
		const char *err, *sent; /* NULL: nothing; no step */
	} rows[] = {
		{"ca rotate --status", none, "ca_rotate_none", 0, NULL, NULL},
		{"ca rotate --status", behind, "ca_rotate_behind", 0, NULL, NULL},
		{"ca rotate --status", ready, "ca_rotate_ready", 0, NULL, NULL},
		{"ca rotate --status --json", ready, "ca_rotate_json", 0, NULL, NULL},
		{"ca rotate", none, "ca_rotate_ask", 2, "there is no terminal to ask on", NULL},
		{"ca rotate --yes", none, "ca_rotate_begin", 0, NULL, "command=advanceCaRotation"},
		{"ca rotate --yes --no-wait", ready, "ca_rotate_drop", 0, "takes the next step",
		 "command=advanceCaRotation"},
		{"ca rotate --yes", behind, "ca_rotate_behind", 1, "waits for these", NULL},
		{"ca rotate --back --yes --no-wait", behind, "ca_rotate_back", 0, "goes on by itself",
		 "command=revertCaRotation"},
		{"ca rotate --back --yes", none, NULL, 1, "nothing to take back", NULL},
		{"ca rotate --status", stolen, "ca_rotate_stolen", 0, NULL, NULL},
		{"ca rotate --yes --compromised", none, "ca_rotate_begin", 0, NULL, "compromised=true"},
		{"ca rotate --back --compromised", ready, NULL, 2, "--compromised is said with a step forward", NULL},
		{"ca rotate --status --force", none, NULL, 2, "--status changes nothing", NULL},
		{"ca rotate --yes", dropped, NULL, 1, "--finish takes it", NULL},
		{"ca rotate --yes --finish --no-wait", dropped, "ca_rotate_finish", 0, "ends it",
		 "command=advanceCaRotation"},
		{"ca rotate --yes --finish", ready, NULL, 1, "--finish is for the phase drop", NULL},
		{"ca rotate --back --finish", ready, NULL, 2, "opposites", NULL},
		{"ca rotate --status", prepared, "ca_rotate_prepared", 0, NULL, NULL},
		{"ca rotate", prepared, "ca_rotate_prepared_ask", 2, "there is no terminal to ask on", NULL},
		{"ca rotate --yes --no-wait", prepared, "ca_rotate_prepared_begin", 0, NULL, "prepared=cc001122"},
		{"ca rotate --discard", prepared, "ca_rotate_discard_ask", 2, "there is no terminal to ask on", NULL},
		{"ca rotate --discard --yes", prepared, "ca_rotate_discard", 0, NULL, "command=discardPreparedCa"},
		{"ca rotate --discard --yes", none, NULL, 1, "no CA is prepared", NULL},
		{"ca rotate --discard --back", prepared, NULL, 2, "it goes without --status", NULL},
		{"ca rotate --back", back, "ca_rotate_back_prepared", 2, "there is no terminal to ask on", NULL},
		{"ca rotate", external, NULL, 1, "The CA is an external one", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fake_server *server = fake_server_start(rows[i].answers);
		const struct run how = {.server = server};
		struct ran r;
		const char *err, *sent;

		muster_run(&r, &how, rows[i].words);
		err = buf_str(&r.err);
		sent = fake_server_requests(server);
		if (r.exit_code != rows[i].exit_code || (rows[i].err ? !strstr(err, rows[i].err) : *err != '\0'))
			fail_msg("%s: exit code %d, stderr: %s", rows[i].words, r.exit_code, err);
		assert_true(rows[i].sent ? strstr(sent, rows[i].sent) != NULL
					 : !strstr(sent, "vance") && !strstr(sent, "vert"));
		if (rows[i].golden)
			golden_check(rows[i].golden, &r.out);
		else
			assert_int_equal(r.out.len, 0);
		ran_deinit(&r);
		fake_server_stop(server);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
