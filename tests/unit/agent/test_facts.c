#include "agent/facts.h"

#include "agent_help.h"

#include <sys/utsname.h>

#define ROOTS(machine, proc_name)                                                                                      \
	((struct facts_roots){.fs = &fs_posix,                                                                         \
			      .proc = GOLDEN "/" machine "/" proc_name,                                                \
			      .sys = GOLDEN "/" machine "/sys",                                                        \
			      .os_release = GOLDEN "/" machine "/os-release"})

/* As loaded from a file that says nothing. */
static struct agent_settings plain_settings(void)
{
	struct agent_settings s = {0};
	const struct settings_voice silent = {0};
	struct props *p = props_new();

	assert_int_equal(agent_settings_load(&s, p, "f", &silent), ERR_OK);
	props_free(p);
	return s;
}

static void machines_are_read(void **state)
{
	static const struct {
		const char *what;
		struct facts_roots roots;
		int64_t cpus, sockets, mhz, memory;
		bool vmx;
		const char *os, *version, *device;
	} rows[] = {
		{"a host for virtual machines", ROOTS("kvm", "proc"), 4, 2, 2900, 16384000LL * 1024, true,
		 "Rocky Linux", "9.4", "cloudbr0"},
		{"one that tells little", ROOTS("arm", "proc"), 2, 0, 0, 900000LL * 1024, false, "Debian GNU/Linux",
		 "12", ""},
		{"one that tells nothing", ROOTS("none", "proc"), 0, 0, 0, 0, false, "", "", ""},
	};
	struct utsname u;

	assert_int_equal(uname(&u), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct facts f = {0};

		check_row(&rows[i], facts_read(&f, &rows[i].roots) == ERR_OK);
		check_row(&rows[i], f.cpus == rows[i].cpus && f.sockets == rows[i].sockets && f.mhz == rows[i].mhz);
		check_row(&rows[i], f.memory_bytes == rows[i].memory && f.has_vmx == rows[i].vmx);
		check_row(&rows[i], str_equal(f.os_name, rows[i].os) && str_equal(f.os_version, rows[i].version));
		check_row(&rows[i], str_equal(f.default_device, rows[i].device));
		check_row(&rows[i], str_equal(f.kernel, u.release));
		facts_deinit(&f);
	}
}

static void this_machine_can_be_read_too(void **state)
{
	CLEAN(facts_deinit) struct facts f = {0};
	struct agent_settings s = plain_settings();
	struct facts_stats stats;
	struct facts_cpu cpu = {0};

	assert_int_equal(facts_read(&f, &facts_machine), ERR_OK);
	assert_int_equal(facts_read_cards(&f), ERR_OK);
	assert_true(f.cpus > 0 && f.memory_bytes > 0);
	assert_int_equal(facts_measure(&stats, &cpu, &facts_machine, &f, &s, NULL), ERR_OK);
	assert_true(stats.cpu_percent >= 0 && stats.cpu_percent <= 100);
	agent_settings_deinit(&s);
}

/* ---- cards ---- */

static void the_own_card_is_chosen(void **state)
{
	static const struct facts_card lo = {"lo", "127.0.0.1", "255.0.0.0", "", false, false};
	static const struct facts_card v6 = {"br0", "2001:db8::1", "ffff::", "aa:bb:cc:dd:ee:ff", true, true};
	static const struct facts_card v4 = {"br0", "10.0.0.1", "255.0.0.0", "aa:bb:cc:dd:ee:ff", false, true};
	static const struct facts_card local = {"br0", "169.254.1.1", "255.255.0.0", "aa:bb:cc:dd:ee:ff", false, false};
	static const struct facts_card other = {"eth9", "10.9.0.1", "255.0.0.0", "", false, true};
	static const struct {
		const char *what;
		const struct facts_card *cards[5];
		const char *source, *device, *default_device, *ip; /* ip "": none */
	} rows[] = {
		{"there is none", {NULL}, NULL, NULL, "br0", ""},
		{"where the way out is", {&lo, &other, &v6, &v4}, NULL, NULL, "br0", "10.0.0.1"},
		{"only IPv6 there", {&lo, &other, &v6}, NULL, NULL, "br0", "2001:db8::1"},
		{"what the operator says", {&lo, &other, &v4}, NULL, "eth9", "br0", "10.9.0.1"},
		{"a device that isn't there", {&lo, &other, &v4}, NULL, "eth7", "br0", "10.0.0.1"},
		{"the source address before all", {&lo, &other, &v4}, "127.0.0.1", "eth9", "br0", "127.0.0.1"},
		{"no way out: any that others see", {&lo, &local, &other}, NULL, NULL, "", "10.9.0.1"},
		{"nothing that others see", {&lo, &local}, NULL, NULL, "", "127.0.0.1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(facts_deinit) struct facts f = {0};
		struct agent_settings s = {.source_ip = (char *)(uintptr_t)rows[i].source,
					   .private_device = (char *)(uintptr_t)rows[i].device};
		const struct facts_card *c;

		str_copy(f.default_device, sizeof(f.default_device), rows[i].default_device);
		for (size_t k = 0; rows[i].cards[k]; k++)
			assert_int_equal(facts_add_card(&f, rows[i].cards[k]), ERR_OK);
		c = facts_own_card(&f, &s);
		check_row(&rows[i], str_equal(c ? c->ip : "", rows[i].ip));
	}
}

static void addresses_for_a_certificate(void **state)
{
	CLEAN(facts_deinit) struct facts f = {0};
	CLEAN(str_list_deinit) struct str_list list = {0};
	CLEAN(mem_freep) char *joined = NULL;
	struct agent_settings s = {.source_ip = (char *)(uintptr_t) "10.0.0.1"};

	assert_int_equal(facts_add_card(&f, &(struct facts_card){.ip = "127.0.0.1"}), ERR_OK);
	assert_int_equal(facts_add_card(&f, &(struct facts_card){.ip = "10.0.0.2", .is_public_use = true}), ERR_OK);
	assert_int_equal(facts_add_card(&f, &(struct facts_card){.ip = "10.0.0.1", .is_public_use = true}), ERR_OK);
	assert_int_equal(facts_addresses(&list, &f, &s), ERR_OK);
	joined = str_list_join(&list, ",");
	assert_string_equal(joined, "10.0.0.1,10.0.0.2");
}

/* ---- a startup ---- */

static void a_startup_says_it_all(void **state)
{
	const struct facts_roots roots = ROOTS("kvm", "proc");
	CLEAN(facts_deinit) struct facts f = {0};
	CLEAN(batch_deinit) struct batch b = {0};
	CLEAN(buf_deinit) struct buf text = {0};
	struct agent_settings s = plain_settings();
	struct msg_startup_routing *m = batch_add(&b, MSG_STARTUP_ROUTING);
	const bool healthy = true;

	check_there(m);
	assert_int_equal(agent_settings_set(&s, "host.tags", "ssd,zone-a", NULL), ERR_OK);
	assert_int_equal(facts_read(&f, &roots), ERR_OK);
	str_copy(f.kernel, sizeof(f.kernel), "5.14.0");
	str_copy(f.arch, sizeof(f.arch), "x86_64");
	assert_int_equal(facts_add_card(&f, &(struct facts_card){"cloudbr0", "192.168.1.5", "255.255.255.0",
								 "02:00:00:00:00:05", false, true}),
			 ERR_OK);
	assert_int_equal(facts_put(&f, &s, true, &healthy, m), ERR_OK);
	assert_int_equal(batch_encode(&b, &text), ERR_OK);
	assert_string_equal(
		buf_str(&text),
		"[{\"com.cloud.agent.api.StartupRoutingCommand\":{\"cpuSockets\":2,\"cpus\":4,\"speed\":2900,\"cpuArch\":"
		"\"x86_64\",\"memory\":15703474176,\"dom0MinMemory\":1073741824,\"poolSync\":false,"
		"\"supportsClonedVolumes\":false,\"caps\":\"hvm\",\"hypervisorType\":\"KVM\",\"hostDetails\":{\"Host.OS\":"
		"\"Rocky Linux\",\"Host.OS.Version\":\"9.4\",\"Host.OS.Kernel.Version\":\"5.14.0\","
		"\"com.cloud.network.Networks.RouterPrivateIpStrategy\":\"HostLocal\",\"secured\":\"true\","
		"\"host.volume.encryption\":\"false\",\"host.instance.conversion\":\"false\",\"host.vddk.support\":"
		"\"false\"},\"hostTags\":[\"ssd\",\"zone-a\"],\"groupDetails\":{},\"gpuDevices\":[],"
		"\"hostHealthCheckResult\":true,\"privateIpAddress\":\"192.168.1.5\",\"privateMacAddress\":"
		"\"02:00:00:00:00:05\",\"privateNetmask\":\"255.255.255.0\",\"storageIpAddress\":\"192.168.1.5\","
		"\"storageNetmask\":\"255.255.255.0\",\"storageMacAddress\":\"02:00:00:00:00:05\",\"contextMap\":{},"
		"\"wait\":0,\"bypassHostMaintenance\":false}}]");
	agent_settings_deinit(&s);
}

/* ---- measured ---- */

static void near(const char *what, double is, double should)
{
	if (is < should - 0.001 || is > should + 0.001)
		fail_msg("%s: %f, not %f", what, is, should);
}

static void use_is_measured_between_two_looks(void **state)
{
	const struct facts_roots first = ROOTS("kvm", "proc"), later = ROOTS("kvm", "proc-later");
	CLEAN(facts_deinit) struct facts f = {0};
	struct agent_settings s = plain_settings();
	struct facts_cpu cpu = {0};
	struct facts_stats stats = {0};

	assert_int_equal(facts_read(&f, &first), ERR_OK);
	assert_int_equal(facts_measure(&stats, &cpu, &first, &f, &s, NULL), ERR_OK);
	near("busy since the start", stats.cpu_percent, 18.0);
	near("load", stats.load, 1.25);
	near("received by the device of the default route", stats.rx_kib, 2000);
	near("sent", stats.tx_kib, 1000);
	near("memory without the host's", stats.total_kib, 16384000 - 1048576);
	near("free, with buffers and caches", stats.free_kib, 7200000 - 1048576);
	assert_int_equal(facts_measure(&stats, &cpu, &later, &f, &s, NULL), ERR_OK);
	near("busy since the last look", stats.cpu_percent, 25.0);
	assert_int_equal(facts_measure(&stats, &cpu, &later, &f, &s, NULL), ERR_OK);
	near("no time has passed", stats.cpu_percent, 0.0);
	assert_int_equal(facts_measure(&stats, &cpu, &first, &f, &s, NULL), ERR_OK);
	near("counters that went back", stats.cpu_percent, 0.0);

	assert_int_equal(agent_settings_set(&s, "public.network.device", "eno1", NULL), ERR_OK);
	assert_int_equal(agent_settings_set(&s, "host.reserved.mem.mb", "0", NULL), ERR_OK);
	assert_int_equal(agent_settings_set(&s, "host.overcommit.mem.mb", "1", NULL), ERR_OK);
	assert_int_equal(facts_measure(&stats, &cpu, &first, &f, &s, NULL), ERR_OK);
	near("received by the operator's device", stats.rx_kib, 20000);
	near("memory with more than there is", stats.total_kib, 16384000 + 1024);
	agent_settings_deinit(&s);
}

static void machines_that_tell_little_are_measured(void **state)
{
	const struct facts_roots arm = ROOTS("arm", "proc"), none = ROOTS("none", "proc");
	CLEAN(facts_deinit) struct facts f = {0};
	struct agent_settings s = plain_settings();
	struct facts_cpu cpu = {0};
	struct facts_stats stats = {0};
	struct why why = WHY_NONE;

	assert_int_equal(facts_read(&f, &arm), ERR_OK);
	assert_int_equal(facts_measure(&stats, &cpu, &arm, &f, &s, NULL), ERR_OK);
	near("all devices but the loopback", stats.rx_kib, 3);
	near("sent by them", stats.tx_kib, 5);
	near("less than is kept for the host", stats.total_kib, 0);
	assert_int_equal(facts_measure(&stats, &cpu, &none, &f, &s, &why), ERR_IO);
	assert_non_null(strstr(why.text, "stat doesn't say"));
	agent_settings_deinit(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(machines_are_read),
		cmocka_unit_test(this_machine_can_be_read_too),
		cmocka_unit_test(the_own_card_is_chosen),
		cmocka_unit_test(addresses_for_a_certificate),
		cmocka_unit_test(a_startup_says_it_all),
		cmocka_unit_test(use_is_measured_between_two_looks),
		cmocka_unit_test(machines_that_tell_little_are_measured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
