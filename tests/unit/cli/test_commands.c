/*
 * The commands against a server that answers from a table: what they ask, what they print.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "check.h"
#include "cli/sign.h"
#include "muster_run.h"

#define HOST_1                                                                                                                 \
	"{\"id\":\"11111111-0000-4000-8000-000000000001\",\"name\":\"H1\",\"state\":\"Up\",\"musterhostid\":1,\"musterlist\":" \
	"[\"M1\",\"M2\",\"M3\"],\"musteralgorithm\":\"roundrobin\",\"musterpreferred\":\"M1\",\"musterconnected\":\"M1\","     \
	"\"musteroutdated\":false,\"mustersecured\":true,\"musterreconnecting\":false,\"musterexpected\":[\"M1\",\"M2\",\"M3\"]}"
#define HOST_2                                                                                                                 \
	"{\"id\":\"11111111-0000-4000-8000-000000000002\",\"name\":\"H2\",\"state\":\"Up\",\"musterhostid\":2,\"musterlist\":" \
	"[\"M1\",\"M2\",\"M3\"],\"musteralgorithm\":\"static\",\"musterpreferred\":\"M1\",\"musterconnected\":\"M1\","         \
	"\"musteroutdated\":true,\"mustersecured\":false,\"musterreconnecting\":true,\"musterexpected\":[\"M2\",\"M3\",\"M1\"]}"
#define HOST_3                                                                                                         \
	"{\"id\":\"11111111-0000-4000-8000-000000000003\",\"name\":\"H3\\u001b[31m\",\"state\":\"Alert\",\"musterhostid\":3}"

#define HOST_SILENT                                                                                                                 \
	"{\"id\":\"11111111-0000-4000-8000-000000000004\",\"name\":\"silent\",\"state\":\"Up\",\"musterhostid\":4,\"musterlist\":[" \
	"\"M1\"],\"musterpreferred\":\"M1\",\"musterconnected\":\"M1\",\"musterlink\":\"suspect\"}"

#define STATUS(interval, off, strictness, store)                                                                                                                 \
	"{\"getmusterstatusresponse\":{\"musterstatus\":{\"servers\":["                                                                                          \
	"{\"id\":\"s1\",\"name\":\"M1\",\"address\":\"10.0.0.1\",\"port\":8250,\"state\":\"Up\",\"version\":\"0.1.0\",\"agents\":2,"                             \
	"\"outdated\":1,\"offpreferred\":" off                                                                                                                   \
	",\"lastupdate\":\"2026-01-15T08:00:02+0000\",\"fullhandshakes\":12,\"resumedhandshakes\":30,\"tickets\":true,\"views\":["                               \
	"{\"of\":\"M2\",\"address\":\"10.0.0.2\",\"view\":\"up (no link)\"},{\"of\":\"M3\",\"address\":\"fd00::3\",\"view\":\"down\"}]},"                        \
	"{\"id\":\"s2\",\"name\":\"M2\",\"address\":\"10.0.0.2\",\"port\":8250,\"state\":\"Up\",\"version\":\"0.1.0\",\"clusterkey\":\"outdated\",\"agents\":1," \
	"\"outdated\":0,\"offpreferred\":0,\"lastupdate\":\"2026-01-15T08:00:02+0000\",\"views\":["                                                              \
	"{\"of\":\"M1\",\"address\":\"10.0.0.1\",\"view\":\"up\"},{\"of\":\"M3\",\"address\":\"fd00::3\",\"view\":\"down\"}]},"                                  \
	"{\"id\":\"s3\",\"name\":\"M3\",\"address\":\"fd00::3\",\"port\":8251,\"state\":\"Down\",\"version\":\"0.1.0\",\"clusterkey\":\"missing\",\"agents\":0," \
	"\"outdated\":0,\"offpreferred\":0,\"lastupdate\":\"2026-01-15T07:00:02+0000\",\"views\":[]}],"                                                          \
	"\"hosts\":{\"total\":4,\"up\":3,\"disconnected\":0,\"alert\":1,\"other\":0,\"suspect\":1,\"reconnecting\":2},\"outdated\":1,\"offpreferred\":" off      \
	",\"behind\":" off ","                                                                                                                                   \
	"\"algorithm\":\"roundrobin\",\"host\":[\"M1\",\"M2\",\"M3\"],\"hostset\":true,\"interval\":" interval                                                   \
	",\"configversion\":7,\"store\":" store ",\"answeredby\":\"M1\",\"strictness\":" strictness                                                              \
	",\"certificates\":{\"revoked\":3,\"revocationsknown\":" strictness                                                                                      \
	",\"nexthost\":\"H2\",\"nextdaysleft\":5},\"unsecured\":1}}}"
#define SETTING(value)                                                                                                 \
	"{\"name\":\"indirect.agent.lb.algorithm\",\"value\":\"" value                                                 \
	"\",\"defaultvalue\":\"static\",\"isdynamic\":true,"                                                           \
	"\"description\":\"How the list of management servers is ordered for each agent\"}"
#define TOKEN                                                                                                          \
	"\"id\":\"t1\",\"token\":\"MUSTER1.abc\",\"role\":\"agent\",\"expires\":\"2026-01-15T09:00:02+0000\",\"uses\":1"

static const struct fake_answer answers[] = {
	{"getMusterStatus", NULL, 0,
	 STATUS("0", "2", "false",
		"{\"ok\":false,\"failingseconds\":75,\"waiting\":3},\"admission\":{\"handshakesallowed\":16,"
		"\"handshakeswaiting\":300,\"starting\":900,\"startupwaitms\":4500,\"putoff\":12,"
		"\"refusals\":[{\"reason\":\"certificate not trusted\",\"count\":12},{\"reason\":\"TLS failed\",\"count\":7},"
		"{\"reason\":\"join refused\",\"count\":3},{\"reason\":\"took too long\",\"count\":1}]}")},
	{"listHosts", "name=nobody\n", 0, "{\"listhostsresponse\":{}}"},
	{"listHosts", "name=silent\n", 0, "{\"listhostsresponse\":{\"count\":1,\"host\":[" HOST_SILENT "]}}"},
	{"listHosts", "name=twins\n", 0, "{\"listhostsresponse\":{\"count\":2,\"host\":[" HOST_1 "," HOST_1 "]}}"},
	{"listHosts", "name=H2\n", 0, "{\"listhostsresponse\":{\"count\":1,\"host\":[" HOST_2 "]}}"},
	{"listHosts", "name=", 0, "{\"listhostsresponse\":{}}"},
	{"listHosts", "page=2\npagesize=2\n", 0, "{\"listhostsresponse\":{\"count\":3,\"host\":[" HOST_3 "]}}"},
	{"listHosts", NULL, 0, "{\"listhostsresponse\":{\"count\":3,\"host\":[" HOST_1 "," HOST_2 "]}}"},
	{"listManagementServers", NULL, 0,
	 "{\"listmanagementserversresponse\":{\"count\":1,\"managementserver\":[{\"id\":\"s1\",\"name\":\"M1\",\"state\":\"Up\",\"version\":"
	 "\"0.1.0\",\"ipaddress\":\"10.0.0.1\",\"agentscount\":2,\"lastserverstart\":\"2026-01-15T08:00:02+0000\"}]}}"},
	{"listClusters", NULL, 0,
	 "{\"listclustersresponse\":{\"count\":1,\"cluster\":[{\"id\":\"c1\",\"name\":\"default\"}]}}"},
	{"listConfigurations", "name=nope\n", 0, "{\"listconfigurationsresponse\":{}}"},
	{"listConfigurations", NULL, 0,
	 "{\"listconfigurationsresponse\":{\"count\":1,\"configuration\":[" SETTING("static") "]}}"},
	{"updateConfiguration", "value=fair\n", 431,
	 "{\"updateconfigurationresponse\":{\"uuidList\":[],\"errorcode\":431,\"cserrorcode\":4350,\"errortext\":\"indirect.agent.lb.algorithm: "
	 "\\\"fair\\\" is not one of static, roundrobin, shuffle.\"}}"},
	{"updateConfiguration", NULL, 0,
	 "{\"updateconfigurationresponse\":{\"configuration\":" SETTING("roundrobin") "}}"},
	{"resetConfiguration", NULL, 0, "{\"resetconfigurationresponse\":{\"configuration\":" SETTING("static") "}}"},
	{"createJoinToken", NULL, 0, "{\"createjointokenresponse\":{\"jointoken\":{" TOKEN "}}}"},
	{"createRejoinToken", NULL, 0, "{\"createrejointokenresponse\":{\"jointoken\":{" TOKEN ",\"hostid\":\"h\"}}}"},
	{"listJoinTokens", NULL, 0,
	 "{\"listjointokensresponse\":{\"count\":1,\"jointoken\":[{\"id\":\"t1\",\"role\":\"agent\",\"created\":\"2026-01-15T08:00:02+0000\","
	 "\"expires\":\"2026-01-15T09:00:02+0000\",\"usesleft\":0,\"uses\":1,\"state\":\"used\",\"name\":\"H1\"}]}}"},
	{"revokeJoinToken", NULL, 0, "{\"revokejointokenresponse\":{\"success\":true}}"},
	{"addHost", NULL, 0,
	 "{\"addhostresponse\":{\"count\":1,\"host\":[{\"id\":\"u5\",\"name\":\"kvm5\",\"musterhostid\":5,\"musterjointoken\":\"MUSTER1.five\"}]}}"},
	{"deleteHost", "forced=true", 0, "{\"deletehostresponse\":{\"success\":true}}"},
	{"deleteHost", NULL, 530,
	 "{\"deletehostresponse\":{\"uuidList\":[],\"errorcode\":530,\"cserrorcode\":4250,\"errortext\":\"Host H2 is connected and not in maintenance: forced=true removes it all the same\"}}"},
	{"reconnectHost", NULL, 0, "{\"reconnecthostresponse\":{\"jobid\":\"j-ok\"}}"},
	{"checkHost", NULL, 0, "{\"checkhostresponse\":{\"jobid\":\"j-ill\"}}"},
	{"getHostStats", NULL, 0, "{\"gethoststatsresponse\":{\"jobid\":\"j-failed\"}}"},
	{"queryAsyncJobResult", "j-ok", 0,
	 "{\"queryasyncjobresultresponse\":{\"jobid\":\"j-ok\",\"jobstatus\":1,\"jobresultcode\":0,\"jobresult\":{\"host\":" HOST_1
	 "}}}"},
	{"queryAsyncJobResult", "j-ill", 0,
	 "{\"queryasyncjobresultresponse\":{\"jobstatus\":1,\"jobresultcode\":0,\"jobresult\":{\"checkhost\":{\"result\":false,\"details\":\"disk "
	 "full\"}}}}"},
	{"queryAsyncJobResult", "j-failed", 0,
	 "{\"queryasyncjobresultresponse\":{\"jobstatus\":2,\"jobresultcode\":534,\"jobresult\":{\"errorcode\":534,\"errortext\":\"Host is not "
	 "connected\"}}}"},
	{"listCaCertificate", NULL, 0,
	 "{\"listcacertificateresponse\":{\"cacertificates\":{\"certificate\":\"PEM\\n\",\"musterprovider\":\"exec\","
	 "\"musterdescription\":\"A command\",\"mustersubject\":\"company root\",\"musterissuer\":\"CN=company root\","
	 "\"musterfingerprint\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\",\"musterkey\":\"RSA\","
	 "\"musterkeybits\":2048,\"musternotbefore\":\"2026-01-01T00:00:00+0000\","
	 "\"musternotafter\":\"2026-02-01T00:00:00+0000\",\"musterdaysleft\":16,\"mustercanissue\":false,"
	 "\"mustercannot\":\"there is no command\",\"musteransweredby\":\"M1\"}}}"},
	{"explainHost", "id=alone\n", 0,
	 "{\"explainhostresponse\":{\"explainhost\":{\"name\":\"K1\",\"musterhostid\":4,\"state\":\"Up\",\"musteroutdated\":true,\"onpreferred\":"
	 "true,\"why\":\"K1 is on M1, the first of its list: it is where it should be.\",\"listreason\":\"static: every host has the order of the "
	 "setting host, so all prefer M1.\",\"verdicts\":[{\"entry\":\"M1\",\"server\":\"M1\",\"state\":\"Up\",\"verdict\":\"connected\",\"sentence\":"
	 "\"it is here\",\"accepting\":false,\"heard\":true,\"agents\":1},{\"entry\":\"M2\",\"server\":\"M2\",\"state\":\"Up\",\"verdict\":\"could be "
	 "taken\",\"sentence\":\"the server is Up\",\"accepting\":true,\"heard\":false,\"agents\":0,\"uptime\":7},{\"entry\":\"M9\",\"verdict\":"
	 "\"unknown server\",\"sentence\":\"nobody has that\"}],\"moves\":[],\"agentunasked\":\"Its agent is CloudStack's and can't be asked: this "
	 "is what the servers see.\"}}}"},
	{"explainHost", NULL, 0,
	 "{\"explainhostresponse\":{\"explainhost\":{\"name\":\"H2\",\"musterhostid\":2,\"state\":\"Up\",\"musteralgorithm\":\"roundrobin\","
	 "\"musteroutdated\":false,\"onpreferred\":false,\"verdicts\":[{\"entry\":\"M2\",\"server\":\"M2\",\"state\":\"Maintenance\",\"verdict\":"
	 "\"avoided\",\"sentence\":\"the servers say that the preferred server should not be used now; failed 2 times; last time: "
	 "\\u001b[31mrefused\",\"accepting\":false,\"heard\":true,\"agents\":0},{\"entry\":\"M3\",\"server\":\"M3\",\"state\":\"Up\",\"verdict\":"
	 "\"connected\",\"sentence\":\"it is here\",\"accepting\":true,\"heard\":true,\"agents\":21,\"uptime\":90000},{\"entry\":\"M1\",\"server\":"
	 "\"M1\",\"state\":\"Up\",\"verdict\":\"next\",\"sentence\":\"taken if the agent loses its server\",\"accepting\":true,\"heard\":true,\"agents\":"
	 "20,\"uptime\":95}],\"why\":\"H2 is on M3 because M2, which it prefers, is in Maintenance; it returns once M2 has been Up for 4 s.\","
	 "\"nextlook\":\"In 2 s, then every 2 s (indirect.agent.lb.check.interval).\",\"moves\":[\"`muster undrain M2`: ends its maintenance.\","
	 "\"`muster drain M3`, or the loss of M3: it goes to M1.\"],\"listreason\":\"roundrobin: the order of the setting host, begun at M2, number 2 "
	 "of 3, because its slot is 1.\",\"agent\":{\"state\":\"up\",\"state_for_s\":95,\"avoid\":[\"M2\"],\"move\":{\"for\":\"new "
	 "certificate\",\"to\":\"M3\"},\"on_fallback\":true}}}}"},
	{"listEvents", NULL, 0,
	 "{\"listeventsresponse\":{\"count\":2,\"event\":[{\"created\":\"2026-01-15T08:00:03+0000\",\"level\":\"WARN\",\"type\":\"MS.DOWN\","
	 "\"description\":\"M2 is down\"},{\"created\":\"2026-01-15T08:00:02+0000\",\"level\":\"INFO\",\"type\":\"HOST.UP\",\"description\":\"H1 is "
	 "up\"}]}}"},
	{"rebalanceHosts", NULL, 0, "{\"rebalancehostsresponse\":{\"success\":true}}"},
	{"allowWeakerIdentity", NULL, 0, "{\"allowweakeridentityresponse\":{\"success\":true}}"},
	{"removeManagementServer", NULL, 0, "{\"removemanagementserverresponse\":{\"success\":true}}"},
	{"createAccount", NULL, 0,
	 "{\"createaccountresponse\":{\"account\":{\"name\":\"ops\",\"id\":\"a1\",\"apikey\":\"AK\",\"secretkey\":\"SK\"}}}"},
	{"listAccounts", NULL, 0,
	 "{\"listaccountsresponse\":{\"count\":1,\"account\":[{\"name\":\"ops\",\"apikey\":\"AK\",\"created\":\"2026-01-15T08:00:02+0000\"}]}}"},
	{"deleteAccount", NULL, 0, "{\"deleteaccountresponse\":{\"success\":true}}"},
	{"listApis", NULL, 0,
	 "{\"listapisresponse\":{\"count\":2,\"api\":[{\"name\":\"listHosts\",\"isasync\":false},{\"name\":\"reconnectHost\",\"isasync\":true}]}}"},
	{NULL},
};

static const struct fake_answer shuffled[] = {
	{"getMusterStatus", NULL, 0,
	 "{\"getmusterstatusresponse\":{\"musterstatus\":{\"servers\":[],\"hosts\":{\"total\":2,\"up\":2},\"outdated\":0,"
	 "\"offpreferred\":2,\"algorithm\":\"shuffle\",\"host\":[\"M1\"],\"hostset\":true,\"interval\":2,\"answeredby\":\"M1\"}}}"},
	{NULL},
};

static const struct fake_answer healthy[] = {
	{"getMusterStatus", NULL, 0, STATUS("60", "1", "true", "{\"ok\":true,\"failingseconds\":0,\"waiting\":0}")},
	{"listHosts", NULL, 0, "{\"listhostsresponse\":{}}"},
	{"listEvents", NULL, 0, "{\"listeventsresponse\":{}}"},
	{"listJoinTokens", NULL, 0, "{\"listjointokensresponse\":{}}"},
	{"listAccounts", NULL, 0, "{\"listaccountsresponse\":{}}"},
	{"listManagementServers", NULL, 200, "<html>no API</html>"},
	{"rebalanceHosts", NULL, 500, "{}"},
	{NULL},
};

#define SERVER(id, name, state, drain)                                                                                                 \
	"{\"id\":\"" id "\",\"name\":\"" name "\",\"state\":\"" state                                                                  \
	"\",\"version\":\"0.1.0\",\"ipaddress\":\"10.0.0.1\",\"agentscount\":2,\"lastserverstart\":\"2026-01-15T08:00:02+0000\"" drain \
	"}"
#define ONE_SERVER(server) "{\"listmanagementserversresponse\":{\"count\":1,\"managementserver\":[" server "]}}"
#define COUNTS(moved, refused) "\"total\":30,\"moved\":" moved ",\"refused\":" refused ",\"vanished\":0,\"jobs\":0"

/* Servers in every stage of a drain; each stays in its stage. */
static const struct fake_answer drains[] = {
	{"listManagementServers", "id=s1\n", 0,
	 ONE_SERVER(SERVER("s1", "M1", "Maintenance",
			   ",\"musterdrain\":{\"state\":\"done\"," COUNTS("30", "0") ",\"remaining\":[]}"))},
	{"listManagementServers", "id=s2\n", 0,
	 ONE_SERVER(SERVER(
		 "s2", "M2", "Up",
		 ",\"musterdrain\":{\"state\":\"timed out\"," COUNTS(
			 "28",
			 "1") ",\"remaining\":["
			      "{\"id\":\"u4\",\"name\":\"H4\",\"fate\":\"refused\",\"asked\":3,\"reason\":\"disk is full\\u001b[31m\"},"
			      "{\"id\":\"u7\",\"name\":\"H7\",\"fate\":\"asked\",\"asked\":2,\"reason\":\"asked, and still here\"}]}"))},
	{"listManagementServers", "id=s3\n", 0,
	 ONE_SERVER(SERVER("s3", "M3", "Up",
			   ",\"musterdrain\":{\"state\":\"cancelled\"," COUNTS("3", "0") ",\"remaining\":[]}"))},
	{"listManagementServers", "id=s4\n", 0,
	 ONE_SERVER(SERVER("s4", "M4", "PreparingForMaintenance",
			   ",\"musterheard\":false,\"musterdrain\":{\"state\":\"running\"," COUNTS("12", "2") "}"))},
	{"listManagementServers", "id=s7\n", 0,
	 ONE_SERVER(SERVER("s7", "M7", "Up",
			   ",\"musterdrain\":{\"state\":\"timed out\"," COUNTS("30", "0") ",\"remaining\":[]}"))},
	{"listManagementServers", NULL, 0,
	 "{\"listmanagementserversresponse\":{\"count\":8,\"managementserver\":[" SERVER("s1", "M1", "Up", "") "," SERVER("s2", "M2", "Up", "") "," SERVER(
		 "s3", "M3", "Down",
		 "") "," SERVER("s4", "M4", "PreparingForMaintenance",
				",\"musterdrain\":{\"state\":\"running\"," COUNTS(
					"12",
					"2") ",\"remainingms\":3500}") "," SERVER("s5", "twins", "Up",
										  "") "," SERVER("s6", "twins", "Up",
												 "") "," SERVER("s7",
														"M7",
														"Up",
														"") "," SERVER("s8",
															       "M8",
															       "PreparingForMaintenance",
															       ",\"musterheard\":false,\"musterdrain\":{\"state\":\"running\"," COUNTS(
																       "1",
																       "0") "}") "]}}"},
	{"prepareForMaintenance", "managementserverid=s5\n", 530,
	 "{\"prepareformaintenanceresponse\":{\"uuidList\":[],\"errorcode\":530,\"cserrorcode\":4250,\"errortext\":\"Management server M5 is the last one that is Up. With force=true it is emptied all the same\"}}"},
	{"prepareForMaintenance", NULL, 0,
	 "{\"prepareformaintenanceresponse\":{\"prepareformaintenance\":{\"state\":\"PreparingForMaintenance\"}}}"},
	{"cancelMaintenance", NULL, 0, "{\"cancelmaintenanceresponse\":{\"cancelmaintenance\":{\"state\":\"Up\"}}}"},
	{NULL},
};

#define FROZEN                                                                                                           \
	"\"frozen\":true,\"since\":\"2026-01-15T08:00:02+0000\",\"seconds\":190,\"by\":\"local\",\"reason\":\"switch 3 " \
	"burns\",\"kept\":1"
#define FROZEN_SERVER                                                                                                  \
	"{\"id\":\"s1\",\"name\":\"M1\",\"state\":\"Up\",\"version\":\"0.1.0\",\"ipaddress\":\"10.0.0.1\","            \
	"\"agentscount\":2,\"musterfrozen\":true}"
#define FROZEN_HOST                                                                                                            \
	"{\"id\":\"11111111-0000-4000-8000-000000000001\",\"name\":\"H1\",\"state\":\"Up\",\"musterhostid\":1,\"musterlist\":" \
	"[\"M1\",\"M2\"],\"musterpreferred\":\"M1\",\"musterconnected\":\"M2\",\"mustersecured\":true,"                        \
	"\"musterexpected\":[\"M1\",\"M2\"],\"musterfrozen\":true}"
static const struct fake_answer frozen[] = {
	{"getMusterStatus", NULL, 0,
	 STATUS("60", "1", "true", "{\"ok\":true,\"failingseconds\":0,\"waiting\":0},\"freeze\":{" FROZEN "}")},
	{"listHosts", NULL, 0, "{\"listhostsresponse\":{\"count\":1,\"host\":[" FROZEN_HOST "]}}"},
	{"listManagementServers", NULL, 0,
	 "{\"listmanagementserversresponse\":{\"count\":1,\"managementserver\":[" FROZEN_SERVER "]}}"},
	{"listConfigurations", NULL, 0,
	 "{\"listconfigurationsresponse\":{\"count\":1,\"configuration\":[" SETTING("static") "]}}"},
	{"updateConfiguration", NULL, 0,
	 "{\"updateconfigurationresponse\":{\"configuration\":" SETTING("roundrobin") "}}"},
	{"freezeHosts", "reason=again\n", 530,
	 "{\"freezehostsresponse\":{\"uuidList\":[],\"errorcode\":530,\"cserrorcode\":4250,\"errortext\":\"Nothing was changed: Moves are "
	 "frozen since 2026-01-15T08:00:02+0000 by local: switch 3 burns\"}}"},
	{"freezeHosts", NULL, 0, "{\"freezehostsresponse\":{\"freezehosts\":{" FROZEN "}}}"},
	{"thawHosts", NULL, 0, "{\"thawhostsresponse\":{\"thawhosts\":{\"frozen\":false,\"seconds\":190}}}"},
	{"prepareForMaintenance", NULL, 0,
	 "{\"prepareformaintenanceresponse\":{\"prepareformaintenance\":{\"state\":\"PreparingForMaintenance\",\"musterfrozen\":true}}}"},
	{"cancelMaintenance", NULL, 0,
	 "{\"cancelmaintenanceresponse\":{\"cancelmaintenance\":{\"state\":\"Up\",\"musterfrozen\":true}}}"},
	{NULL},
};

#define WEIGHED_SERVER(id, name, more)                                                                                 \
	"{\"id\":\"" id "\",\"name\":\"" name                                                                          \
	"\",\"state\":\"Up\",\"version\":\"0.1.0\",\"ipaddress\":\"10.0.0.1\",\"agentscount\":2," more "}"
#define ENTRY(entry, more) "{\"name\":\"" entry "\"," more "}"
#define ASKED_FOR_ZONE                                                                                                 \
	"{\"setlistserverresponse\":{\"uuidList\":[],\"errorcode\":431,\"cserrorcode\":4350,\"errortext\":\"there is no zone moon\"}}"
#define SET(object) "{\"setlistserverresponse\":{\"setlistserver\":" object "}}"
static const struct fake_answer weighed[] = {
	{"listManagementServers", NULL, 0,
	 "{\"listmanagementserversresponse\":{\"count\":3,\"managementserver\":[" WEIGHED_SERVER("s1", "M1", "\"musterweight\":3,\"musterzone\":\"east\",\"musterresting\":false") "," WEIGHED_SERVER(
		 "s2", "M2",
		 "\"musterweight\":1,\"musterresting\":false") "," WEIGHED_SERVER("s3", "M3",
										  "\"musterweight\":2,\"musterresting\":true") "]}}"},
	{"listHosts", "name=H2\n", 0, "{\"listhostsresponse\":{\"count\":1,\"host\":[" HOST_2 "]}}"},
	{"listHosts", "name=", 0, "{\"listhostsresponse\":{}}"},
	{"listHosts", NULL, 0,
	 "{\"listhostsresponse\":{\"count\":2,\"host\":[" HOST_1 ",{\"id\":\"u4\",\"name\":\"H4\",\"state\":\"Up\","
	 "\"musterhostid\":4,\"musterlist\":[\"M2\",\"M1\"],\"musterpreferred\":\"M2\",\"musterconnected\":\"M2\","
	 "\"mustersecured\":true,\"musterpin\":\"M2\"}]}}"},
	{"listConfigurations", NULL, 0,
	 "{\"listconfigurationsresponse\":{\"count\":1,\"configuration\":[{\"name\":\"host\",\"value\":\"M1,M2\",\"isdynamic\":true}]}}"},
	{"getMusterStatus", NULL, 0,
	 "{\"getmusterstatusresponse\":{\"musterstatus\":{\"interval\":60,\"servers\":[{\"name\":\"M1\",\"address\":\"M1\"}]}}}"},
	{"updateConfiguration", NULL, 0,
	 "{\"updateconfigurationresponse\":{\"configuration\":{\"name\":\"host\",\"value\":\"M1\",\"isdynamic\":true,\"musterpinsdropped\":1}}}"},
	{"setListServer", "zone=moon\n", 431, ASKED_FOR_ZONE},
	{"setListServer", "server=M2\n", 0,
	 SET(ENTRY("10.0.0.2", "\"weight\":1,\"inlist\":true,\"algorithm\":\"static\",\"moves\":0"))},
	{"setListServer", "server=M3\n", 0,
	 SET(ENTRY("10.0.0.3", "\"weight\":0,\"inlist\":false,\"algorithm\":\"balanced\",\"moves\":0"))},
	{"setListServer", NULL, 0,
	 SET(ENTRY("M1", "\"weight\":3,\"zone\":\"east\",\"inlist\":true,\"algorithm\":\"balanced\",\"moves\":12"))},
	{"pinHost", "server=M9\n", 431,
	 "{\"pinhostresponse\":{\"uuidList\":[],\"errorcode\":431,\"cserrorcode\":4350,\"errortext\":\"M9 is in no list: the setting host does not name it\"}}"},
	{"pinHost", "server=M3\n", 0,
	 "{\"pinhostresponse\":{\"pinhost\":{\"name\":\"H2\",\"musterpin\":\"M3\",\"was\":\"M3\",\"moves\":0}}}"},
	{"pinHost", "server=M2\n", 0,
	 "{\"pinhostresponse\":{\"pinhost\":{\"name\":\"H2\",\"musterpin\":\"M2\",\"was\":\"M1\",\"moves\":0}}}"},
	{"pinHost", NULL, 0, "{\"pinhostresponse\":{\"pinhost\":{\"name\":\"H2\",\"musterpin\":\"M1\",\"moves\":1}}}"},
	{"unpinHost", "id=7\n", 530,
	 "{\"unpinhostresponse\":{\"uuidList\":[],\"errorcode\":530,\"cserrorcode\":4250,\"errortext\":\"The host is not pinned: there is nothing to undo\"}}"},
	{"unpinHost", NULL, 0, "{\"unpinhostresponse\":{\"unpinhost\":{\"name\":\"H2\",\"was\":\"M1\",\"moves\":0}}}"},
	{NULL},
};

struct row {
	const char *words;
	const char *golden; /* stdout; NULL: nothing */
	int exit_code;
	const char *err; /* what stderr contains; NULL: nothing */
};

static void check_rows(const struct row *rows, size_t n, const struct run *how)
{
	for (size_t i = 0; i < n; i++) {
		struct ran r;
		const char *err;

		muster_run(&r, how, rows[i].words);
		err = buf_str(&r.err);
		if (r.exit_code != rows[i].exit_code || !(rows[i].err ? !!strstr(err, rows[i].err) : !*err) ||
		    (!rows[i].golden && r.out.len))
			fail_msg("muster %s: exit code %d\nstdout: %s\nstderr: %s", rows[i].words, r.exit_code,
				 buf_str(&r.out), err);
		if (rows[i].golden)
			golden_check(rows[i].golden, &r.out);
		ran_deinit(&r);
	}
}

static void commands_print_the_golden_text(void **state)
{
	static const struct row rows[] = {
		{"status", "status", 0, NULL},
		{"status --json", "status_json", 0, NULL},
		{"hosts", "hosts", 0, NULL},
		{"hosts --json", "hosts_json", 0, NULL},
		{"hosts --outdated", "hosts_outdated", 0, NULL},
		{"hosts silent", "hosts_suspect", 0, NULL},
		{"hosts nobody", NULL, 0, "No host is like that."},
		{"hosts nobody --json", "hosts_none_json", 0, NULL},
		{"servers", "servers", 0, NULL},
		{"config list", "config_list", 0, NULL},
		{"config list nope", NULL, 0, "No setting has a name like that."},
		{"config get indirect.agent.lb.algorithm", "config_get", 0, NULL},
		{"config get nope", NULL, 1, "there is no setting nope; `muster config list` shows them"},
		{"config set indirect.agent.lb.algorithm roundrobin", "config_set", 0,
		 "1 agent is not on the preferred server"},
		{"config set indirect.agent.lb.algorithm=roundrobin --json", "config_set_json", 0, NULL},
		{"config set indirect.agent.lb.algorithm fair", NULL, 1,
		 "muster config set: indirect.agent.lb.algorithm: \"fair\" is not one of static, roundrobin, shuffle\n"},
		{"config set indirect.agent.lb.algorithm fair --json", NULL, 1,
		 "is not one of static, roundrobin, shuffle (HTTP 431, error code 4350)\n"},
		{"config reset indirect.agent.lb.algorithm --cluster default", "config_reset", 0, "preferred server"},
		{"token create --lifetime 2h --uses 3", "token_create", 0,
		 "Valid until 2026-01-15 09:00:02, once. On the host: muster-agent join TOKEN"},
		{"token create --json", "token_create_json", 0, NULL},
		{"server token", "token_create", 0, "muster-server join TOKEN"},
		{"token list", "token_list", 0, NULL},
		{"token revoke t1", "token_revoke", 0, NULL},
		{"host add kvm5", "host_add", 0, "Place 5 is reserved for kvm5."},
		{"host rm H2", NULL, 1, "muster host rm: the host is connected; --force removes it all the same\n"},
		{"host rm H2 --force", "host_rm", 0, NULL},
		{"host rm twins", NULL, 1, "2 hosts are named twins"},
		{"host reconnect 1", "host_reconnect", 0, NULL},
		{"host check H2", "host_check", 1, NULL},
		{"host stats H2", NULL, 1, "Host is not connected\n"},
		{"host stats H2 --json", NULL, 1, "Host is not connected (error code 534)\n"},
		{"host rejoin H2", "token_create", 0, "for that host only"},
		{"host allow-weaker H2", "host_allow_weaker", 0, NULL},
		{"ca show", "ca_show", 0, NULL},
		{"ca show --pem", "ca_show_pem", 0, NULL},
		{"explain H2", "explain", 0, NULL},
		{"explain alone", "explain_unasked", 0, NULL},
		{"explain H2 --json", "explain_json", 0, NULL},
		{"events -n 2", "events", 0, NULL},
		{"rebalance", "rebalance", 0, NULL},
		{"server rm M1", "server_rm", 0, NULL},
		{"account create ops", "account_create", 0, "the secret key is not shown again"},
		{"account list", "account_list", 0, NULL},
		{"account rm ops", "account_rm", 0, NULL},
		{"api listHosts name=H2", "api_list_hosts", 0, NULL},
		{"api list hosts name=H2", "api_list_hosts", 0, NULL},
		{"api reconnectHost id=1", "api_reconnect", 0, NULL},
		{"api reconnect host id=1 --no-wait", "api_reconnect_no_wait", 0, NULL},
		{"api paintHosts", NULL, 1,
		 "The given command does not exist (HTTP 432, error code 9999); this server does not know the command"},
	};
	struct fake_server *s = fake_server_start(answers);

	check_rows(rows, ARRAY_SIZE(rows), &(struct run){.server = s});
	fake_server_stop(s);
}

static void an_empty_or_calm_cluster_says_so(void **state)
{
	static const struct row rows[] = {
		{"status", "status_calm", 0, NULL},
		{"hosts", NULL, 0, "There are no hosts yet. `muster token create` makes a token"},
		{"events", NULL, 0, "Nothing like that has happened."},
		{"token list", NULL, 0, "There are no tokens."},
		{"account list", NULL, 0, "There are no accounts"},
		{"servers", NULL, 1, "is not a management server's API"},
		{"rebalance", NULL, 1, "is not a management server's API"},
	};
	struct fake_server *s = fake_server_start(healthy);

	check_rows(rows, ARRAY_SIZE(rows), &(struct run){.server = s});
	fake_server_stop(s);
}

static void under_shuffle_no_look_is_promised(void **state)
{
	static const struct row rows[] = {{"status", "status_shuffle", 0, NULL}};
	struct fake_server *s = fake_server_start(shuffled);

	check_rows(rows, ARRAY_SIZE(rows), &(struct run){.server = s});
	fake_server_stop(s);
}

/* No key, and no revocation list. */
static void what_servers_can_not_do_is_said(void **state)
{
	static const struct fake_answer keyless[] = {
		{"getMusterStatus", NULL, 0,
		 "{\"getmusterstatusresponse\":{\"musterstatus\":{\"servers\":["
		 "{\"name\":\"M1\",\"address\":\"M1\",\"state\":\"Up\",\"canissue\":true},"
		 "{\"name\":\"M2\",\"address\":\"M2\",\"state\":\"Up\",\"canissue\":false}],\"hosts\":{\"total\":2,\"up\":2},"
		 "\"outdated\":0,\"algorithm\":\"static\",\"host\":[\"M1\"],\"hostset\":true,\"interval\":2,\"answeredby\":\"M1\","
		 "\"certificates\":{\"revoked\":0,\"revocationlistproblem\":\"the CA may not sign revocation lists\"}}}}"},
		{NULL},
	};
	struct fake_server *s = fake_server_start(keyless);
	struct ran r;

	muster_run(&r, &(struct run){.server = s}, "status");
	assert_int_equal(r.exit_code, 0);
	check_there(strstr(buf_str(&r.out),
			   "\nM2 can't issue: no key of the CA there. Others renew the certificates of its agents, "
			   "not its own.\n"));
	check_there(strstr(buf_str(&r.out), "\nNo new revocation list (CRL): the CA may not sign revocation lists.\n"));
	ran_deinit(&r);
	fake_server_stop(s);
}

static void drains_end_in_words(void **state)
{
	static const struct row rows[] = {
		{"drain M1", "drain", 0, "It can be stopped now; `muster undrain M1` takes it back into service."},
		{"drain s1 --json", "drain_json", 0, NULL},
		{"drain M2", "drain_timed_out", 1, NULL},
		{"drain M3", "drain_cancelled", 1, NULL},
		{"drain M1 --no-wait", "drain_no_wait", 0, NULL},
		{"drain M7", "drain_jobs_left", 1, NULL},
		{"drain M4", NULL, 1,
		 "M4 does not answer any more; it will be in maintenance when it starts, `muster undrain M4` ends that"},
		{"drain s5", NULL, 1,
		 "Management server M5 is the last one that is Up. With --force it is emptied all the same"},
		{"drain M9", NULL, 1, "there is no management server M9; `muster servers` shows them"},
		{"drain twins", NULL, 1, "2 management servers are called twins; take the UUID of one: muster servers"},
		{"drain 10.0.0.1", NULL, 1, "8 management servers are called 10.0.0.1"},
		{"undrain M1", "undrain", 0, NULL},
		{"undrain M1 --no-rebalance", "undrain_no_rebalance", 0, NULL},
		{"undrain M1 --rebalance --no-rebalance", NULL, 2, "contradict each other"},
		{"servers", "servers_drained", 0, NULL},
	};
	struct fake_server *s = fake_server_start(drains);

	check_rows(rows, ARRAY_SIZE(rows), &(struct run){.server = s});
	fake_server_stop(s);
}

static void a_freeze_is_said_wherever_it_matters(void **state)
{
	static const struct row rows[] = {
		{"freeze --reason 'switch 3 burns'", "freeze", 0, "`muster thaw` ends it, `muster status` shows it."},
		{"freeze --json", "freeze_json", 0, NULL},
		{"freeze --reason again", NULL, 1,
		 "muster freeze: Nothing was changed: Moves are frozen since 2026-01-15T08:00:02+0000 by local: switch 3 burns\n"},
		{"freeze now", NULL, 2, "now"},
		{"thaw", "thaw", 0, NULL},
		{"status", "status_frozen", 0, NULL},
		{"servers", "servers_frozen", 0, NULL},
		{"hosts", "hosts_frozen", 0, NULL},
		{"drain M1 --no-wait", "drain_no_wait", 0, "nobody returns until `muster thaw`."},
		{"undrain M1", "undrain_frozen", 0, NULL},
		{"config set indirect.agent.lb.algorithm roundrobin", "config_set", 0,
		 "1 agent is not on the preferred server and will stay away from it until `muster thaw`."},
	};
	struct fake_server *s = fake_server_start(frozen);

	check_rows(rows, ARRAY_SIZE(rows), &(struct run){.server = s});
	fake_server_stop(s);
}

static void weights_zones_and_pins_are_set_and_shown(void **state)
{
	static const struct row rows[] = {
		{"servers", "servers_weighed", 0, NULL},
		{"hosts", "hosts_pinned", 0, NULL},
		{"server set M1 --weight 3 --zone east", "server_set", 0, NULL},
		{"server set M1 --weight 3 --json", "server_set_json", 0, NULL},
		{"server set M2 --zone none", "server_set_static", 0, NULL},
		{"server set M3 --weight 0", "server_set_no_list", 0, NULL},
		{"server set M1 --zone moon", NULL, 1, "muster server set: there is no zone moon\n"},
		{"server set M1", NULL, 2, "nothing to set: give --weight, --zone or both"},
		{"server set M1 --weight 1001", NULL, 2, "--weight"},
		{"server set M1 --weight -1", NULL, 2, "--weight"},
		{"server set --weight 1", NULL, 2, "SERVER"},
		{"host pin H2 M1", "host_pin", 0, NULL},
		{"host pin H2 M1 --json", "host_pin_json", 0, NULL},
		{"host pin H2 M2", "host_pin_again", 0, NULL},
		{"host pin H2 M3", "host_pin_same", 0, NULL},
		{"host pin H2 M9", NULL, 1, "muster host pin: M9 is in no list: the setting host does not name it\n"},
		{"host pin H2", NULL, 2, "SERVER"},
		{"host unpin H2", "host_unpin", 0, NULL},
		{"host unpin 7", NULL, 1, "The host is not pinned: there is nothing to undo"},
		{"config set host M1", "config_set_pins", 0, NULL},
	};
	struct fake_server *s = fake_server_start(weighed);

	check_rows(rows, ARRAY_SIZE(rows), &(struct run){.server = s});
	fake_server_stop(s);
}

static void drains_ask_what_they_should(void **state)
{
	static const struct {
		const char *words, *request;
	} rows[] = {
		{"drain M1", "agents=false\ncommand=listManagementServers\nid=s1\nresponse=json\n\n"},
		{"drain M1", "command=prepareForMaintenance\nmanagementserverid=s1\nresponse=json\n\n"},
		{"drain M1 --rate 5 --timeout 2m --anyway --force --algorithm shuffle",
		 "algorithm=shuffle\ncommand=prepareForMaintenance\nforce=true\nforced=true\nmanagementserverid=s1\nrate=5\n"
		 "response=json\ntimeout=120\n\n"},
		{"undrain s2", "command=cancelMaintenance\nmanagementserverid=s2\nrebalance=true\nresponse=json\n\n"},
		{"undrain s2 --no-rebalance",
		 "command=cancelMaintenance\nmanagementserverid=s2\nrebalance=false\nresponse=json\n\n"},
	};
	struct fake_server *s = fake_server_start(drains);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ran r;

		fake_server_forget(s);
		muster_run(&r, &(struct run){.server = s}, rows[i].words);
		if (!strstr(fake_server_requests(s), rows[i].request))
			fail_msg("muster %s asked:\n%s", rows[i].words, fake_server_requests(s));
		ran_deinit(&r);
	}
	fake_server_stop(s);
}

/* As wide as the terminal, coloured there only, and not at all with NO_COLOR. */
static void a_terminal_gets_colours_and_its_width(void **state)
{
	static const char *const plain[] = {"NO_COLOR=1", NULL};
	static const struct row wide[] = {{"hosts", "terminal_hosts_100", 0, NULL},
					  {"status", "terminal_status_100", 0, NULL},
					  {"explain H2", "terminal_explain_100", 0, NULL}};
	static const struct row narrow[] = {{"hosts", "terminal_hosts_60_plain", 0, NULL},
					    {"explain H2", "terminal_explain_60_plain", 0, NULL}};
	struct fake_server *s = fake_server_start(answers);

	check_rows(wide, ARRAY_SIZE(wide), &(struct run){.server = s, .terminal_width = 100});
	check_rows(narrow, ARRAY_SIZE(narrow), &(struct run){.server = s, .terminal_width = 60, .environment = plain});
	fake_server_stop(s);
}

static void commands_ask_what_they_should(void **state)
{
	static const struct {
		const char *words, *request;
	} rows[] = {
		{"hosts --state Up --keyword kvm", "command=listHosts\nkeyword=kvm\nresponse=json\nstate=Up\n\n"},
		{"config set indirect.agent.lb.algorithm 'M1, M2'",
		 "command=updateConfiguration\nname=indirect.agent.lb.algorithm\nresponse=json\nvalue=M1, M2\n\n"},
		{"config list --cluster default lb",
		 "clusterid=c1\ncommand=listConfigurations\nname=lb\nresponse=json\n\n"},
		{"config list --cluster 7", "clusterid=7\ncommand=listConfigurations\nresponse=json\n\n"},
		{"token create --lifetime 2h --uses 3 --name H9",
		 "command=createJoinToken\nlifetime=7200\nname=H9\nresponse=json\nrole=agent\nuses=3\n\n"},
		{"server token", "command=createJoinToken\nresponse=json\nrole=server\nuses=1\n\n"},
		{"host rm H2 --force --keep-certificate",
		 "command=deleteHost\nforced=true\nid=11111111-0000-4000-8000-000000000002\nkeepcertificate=true\nresponse=json\n\n"},
		{"host rejoin 2", "command=createRejoinToken\nhostid=2\nresponse=json\n\n"},
		{"host add kvm5 10.0.0.5 --cluster c2",
		 "clustername=c2\ncommand=addHost\nhypervisor=KVM\nname=kvm5\nresponse=json\nurl=http://10.0.0.5\n\n"},
		{"freeze --reason 'a b'", "command=freezeHosts\nreason=a b\nresponse=json\n\n"},
		{"freeze", "command=freezeHosts\nresponse=json\n\n"},
		{"thaw", "command=thawHosts\nresponse=json\n\n"},
		{"rebalance --rerank", "command=rebalanceHosts\nrerank=true\nresponse=json\n\n"},
		{"server rm M1", "command=removeManagementServer\nid=s1\nresponse=json\n\n"},
		{"api listHosts 'keyword=a b&c=d'", "command=listHosts\nkeyword=a b&c=d\nresponse=json\n\n"},
	};
	struct fake_server *s = fake_server_start(answers);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ran r;

		fake_server_forget(s);
		muster_run(&r, &(struct run){.server = s}, rows[i].words);
		if (!strstr(fake_server_requests(s), rows[i].request))
			fail_msg("muster %s asked:\n%s", rows[i].words, fake_server_requests(s));
		ran_deinit(&r);
	}
	fake_server_stop(s);
}

/* ---- over TCP, signed ---- */

#define REQUEST_MAX 16

/* Takes the first request apart again and signs it as a server would. */
static void check_signature(const char *requests, const char *secret)
{
	struct sign_param params[REQUEST_MAX];
	char *text = mem_strdup(requests), *line = text, *given = NULL, *signature = NULL;
	size_t n = 0;

	check_there(text);
	while (*line && *line != '\n') {
		char *end = strchr(line, '\n'), *equals = strchr(line, '=');

		check_there(end);
		check_there(equals);
		*end = *equals = '\0';
		if (str_equal(line, "signature"))
			given = equals + 1;
		else
			params[n++] = (struct sign_param){line, equals + 1};
		line = end + 1;
	}
	assert_int_equal(sign_params(&signature, params, n, secret), ERR_OK);
	check_there(given);
	assert_string_equal(given, signature);
	mem_free(signature);
	mem_free(text);
}

static void keys_sign_requests_over_tcp(void **state)
{
	static const char *const keys[] = {"MUSTER_API_KEY=AK", "MUSTER_SECRET_KEY=Secret/+Key", NULL};
	struct fake_server *s = fake_server_start(answers);
	CLEAN(mem_freep) char *words = mem_printf("--url %s/ hosts --keyword 'a ~b*'", fake_server_url(s));
	struct ran r;

	muster_run(&r, &(struct run){.environment = keys}, words);
	assert_int_equal(r.exit_code, 0);
	assert_non_null(strstr(fake_server_requests(s), "apiKey=AK\n"));
	assert_non_null(strstr(fake_server_requests(s), "signatureVersion=3\n"));
	assert_non_null(strstr(fake_server_requests(s), "keyword=a ~b*\n"));
	check_signature(fake_server_requests(s), "Secret/+Key");
	ran_deinit(&r);
	fake_server_stop(s);
}

static void a_key_file_is_written_once_and_read_back(void **state)
{
	struct fake_server *s = fake_server_start(answers);
	CLEAN(mem_freep) char *path = mem_printf("%s.keys", fake_server_socket(s));
	CLEAN(mem_freep) char *create = mem_printf("account create ops --file %s", path);
	CLEAN(mem_freep) char *use = mem_printf("--url %s --api-key-file %s hosts", fake_server_url(s), path);
	struct stat status;
	struct ran r;

	muster_run(&r, &(struct run){.server = s}, create);
	assert_int_equal(r.exit_code, 0);
	assert_int_equal(r.out.len, 0);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	ran_deinit(&r);

	fake_server_forget(s);
	muster_run(&r, NULL, use);
	assert_int_equal(r.exit_code, 0);
	check_signature(fake_server_requests(s), "SK");
	ran_deinit(&r);

	muster_run(&r, &(struct run){.server = s}, create);
	assert_int_equal(r.exit_code, 1);
	assert_non_null(strstr(buf_str(&r.err), "is not overwritten"));
	ran_deinit(&r);
	unlink(path);
	fake_server_stop(s);
}

/* What an agent says of itself is shown to people, whatever it is. */
static void explain_shows_anything_without_obeying_it(void **state)
{
	static const struct fake_answer hostile[] = {
		{"explainHost", "id=nobody\n", 431,
		 "{\"explainhostresponse\":{\"errorcode\":431,\"cserrorcode\":9999,\"errortext\":\"Parameter id: nothing has the id "
		 "\\\"nobody\\\"\"}}"},
		{"explainHost", NULL, 0,
		 "{\"explainhostresponse\":{\"explainhost\":{\"name\":\"e\\u001b[2Jvil\",\"state\":\"Up\",\"why\":\"a\\u009b31mb\\nc\","
		 "\"nextlook\":\"\\u007f\",\"moves\":[\"\\r\",7,{}],\"verdicts\":[{\"entry\":\"\\u001b]0;x\\u0007\",\"verdict\":\"x\\ny\","
		 "\"sentence\":\"\\u001bc\",\"state\":7,\"uptime\":9223372036854775807},7,[]],\"listreason\":\"\\b\",\"agent\":{"
		 "\"state\":\"\\u001b[1m\",\"state_for_s\":-9223372036854775808,\"avoid\":[1,{\"a\":[]},\"\\u001b\"],\"move\":{\"for\":\"\\u0090\","
		 "\"to\":\"\\u001b\"}}}}}"},
		{NULL},
	};
	static const char *const words[] = {"explain evil", "explain evil --json"};
	struct fake_server *s = fake_server_start(hostile);
	struct ran r;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		const char *out;

		muster_run(&r, &(struct run){.server = s}, words[i]);
		assert_int_equal(r.exit_code, 0);
		out = buf_str(&r.out);
		for (size_t k = 0; k < r.out.len; k++) {
			unsigned char c = (unsigned char)out[k];

			/* Nothing of this is outside ASCII, unless it came through. */
			if ((c < 0x20 && c != '\n') || c >= 0x7f)
				fail_msg("%s prints 0x%02x: %s", words[i], c, out);
		}
		ran_deinit(&r);
	}
	muster_run(&r, &(struct run){.server = s}, "explain nobody");
	assert_int_equal(r.exit_code, 1);
	assert_non_null(strstr(buf_str(&r.err), "muster explain: there is no host \"nobody\""));
	ran_deinit(&r);
	fake_server_stop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_print_the_golden_text),
		cmocka_unit_test(an_empty_or_calm_cluster_says_so),
		cmocka_unit_test(under_shuffle_no_look_is_promised),
		cmocka_unit_test(what_servers_can_not_do_is_said),
		cmocka_unit_test(drains_end_in_words),
		cmocka_unit_test(a_freeze_is_said_wherever_it_matters),
		cmocka_unit_test(weights_zones_and_pins_are_set_and_shown),
		cmocka_unit_test(drains_ask_what_they_should),
		cmocka_unit_test(a_terminal_gets_colours_and_its_width),
		cmocka_unit_test(commands_ask_what_they_should),
		cmocka_unit_test(keys_sign_requests_over_tcp),
		cmocka_unit_test(a_key_file_is_written_once_and_read_back),
		cmocka_unit_test(explain_shows_anything_without_obeying_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
