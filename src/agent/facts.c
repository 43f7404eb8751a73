#include "agent/facts.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/mem.h"

#define FILE_LIMIT (4 * 1024 * 1024)
#define SOCKETS_MAX 1024
#define MIB (1024 * 1024)

const struct facts_roots facts_machine = {
	.fs = &fs_posix,
	.proc = "/proc",
	.sys = "/sys",
	.os_release = "/etc/os-release",
};

void facts_deinit(struct facts *f)
{
	mem_free(f->cards);
	*f = (struct facts){0};
}

/* ---- reading lines ---- */

/* The whole text, "" when there is no such file. NULL: out of memory. */
static const char *read_text(struct buf *text, const struct facts_roots *roots, const char *root, const char *name)
{
	CLEAN(mem_freep) char *path = name ? path_join(root, name) : mem_strdup(root);

	if (!path || file_read(roots->fs, path, FILE_LIMIT, text, NULL) == ERR_NOMEM)
		return NULL;
	return buf_str(text);
}

/* The next line without its end; false at the end of the text. Longer ones than `size` are cut. */
static bool next_line(const char **text, char *line, size_t size)
{
	size_t n = strcspn(*text, "\n");
	size_t keep = n < size ? n : size - 1;

	if (!**text)
		return false;
	memcpy(line, *text, keep);
	line[keep] = '\0';
	*text += n + ((*text)[n] == '\n');
	return true;
}

/* "model name	: x" and "MemTotal:  5 kB": the value behind the colon, if the line is of that name. */
static char *value_of(char *line, const char *name)
{
	size_t n = strlen(name);
	char *at = line + n;

	if (strncmp(line, name, n) != 0)
		return NULL;
	at += strspn(at, " \t");
	return *at == ':' ? str_trim(at + 1) : NULL;
}

/* ---- /proc/cpuinfo ---- */

struct sockets {
	int64_t ids[SOCKETS_MAX];
	int64_t n;
};

static void sockets_add(struct sockets *s, const char *text)
{
	int64_t id;

	if (!str_to_i64(text, &id))
		return;
	for (int64_t i = 0; i < s->n; i++) {
		if (s->ids[i] == id)
			return;
	}
	if (s->n < SOCKETS_MAX)
		s->ids[s->n++] = id;
}

static bool has_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at++) {
		if ((at == text || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
			return true;
	}
	return false;
}

static void cpu_line(struct facts *f, struct sockets *sockets, char *line)
{
	const char *value;
	double mhz;

	if (value_of(line, "processor")) {
		f->cpus++;
	} else if ((value = value_of(line, "physical id"))) {
		sockets_add(sockets, value);
	} else if ((value = value_of(line, "cpu MHz"))) {
		if (sscanf(value, "%lf", &mhz) == 1 && mhz > (double)f->mhz && mhz < 1e6)
			f->mhz = (int64_t)mhz;
	} else if ((value = value_of(line, "flags"))) {
		f->has_vmx |= has_word(value, "vmx") || has_word(value, "svm");
	}
}

static enum err read_cpus(struct facts *f, const struct facts_roots *roots)
{
	CLEAN(buf_deinit) struct buf text = {0};
	CLEAN(buf_deinit) struct buf khz = {0};
	const char *at = read_text(&text, roots, roots->proc, "cpuinfo");
	struct sockets sockets = {.n = 0};
	char line[8192];
	const char *speed;
	int64_t number;

	if (!at)
		return ERR_NOMEM;
	while (next_line(&at, line, sizeof(line)))
		cpu_line(f, &sockets, line);
	f->sockets = sockets.n;

	/* What it can do at most; cpuinfo says what it happens to do now. */
	speed = read_text(&khz, roots, roots->sys, "devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq");
	if (!speed)
		return ERR_NOMEM;
	if (next_line(&speed, line, sizeof(line)) && str_to_i64(str_trim(line), &number) && number >= 1000)
		f->mhz = number / 1000;
	return ERR_OK;
}

/* ---- /proc/meminfo ---- */

struct memory { /* KiB */
	int64_t total, free, buffers, cached;
};

static void memory_line(struct memory *m, char *line)
{
	const struct {
		const char *name;
		int64_t *to;
	} names[] = {
		{"MemTotal", &m->total},
		{"MemFree", &m->free},
		{"Buffers", &m->buffers},
		{"Cached", &m->cached},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *value = value_of(line, names[i].name);

		if (!value)
			continue;
		value[strcspn(value, " ")] = '\0';
		if (!str_to_i64(value, names[i].to) || *names[i].to < 0)
			*names[i].to = 0;
		return;
	}
}

static enum err read_memory(struct memory *m, const struct facts_roots *roots)
{
	CLEAN(buf_deinit) struct buf text = {0};
	const char *at = read_text(&text, roots, roots->proc, "meminfo");
	char line[256];

	*m = (struct memory){0};
	if (!at)
		return ERR_NOMEM;
	while (next_line(&at, line, sizeof(line)))
		memory_line(m, line);
	return ERR_OK;
}

/* ---- os-release: a shell's assignments ---- */

static void os_value(char *out, size_t size, char *value)
{
	char *text = str_trim(value);
	char quote = *text == '"' || *text == '\'' ? *text++ : '\0';
	size_t n = 0;

	for (; *text && *text != quote && n + 1 < size; text++) {
		if (*text == '\\' && quote != '\'' && text[1])
			text++;
		out[n++] = *text;
	}
	out[n] = '\0';
	str_make_printable(out);
}

static enum err read_os(struct facts *f, const struct facts_roots *roots)
{
	CLEAN(buf_deinit) struct buf text = {0};
	const char *at = read_text(&text, roots, roots->os_release, NULL);
	char line[512];

	if (!at)
		return ERR_NOMEM;
	while (next_line(&at, line, sizeof(line))) {
		if (str_starts(line, "NAME="))
			os_value(f->os_name, sizeof(f->os_name), line + 5);
		else if (str_starts(line, "VERSION_ID="))
			os_value(f->os_version, sizeof(f->os_version), line + 11);
	}
	return ERR_OK;
}

/* "i586" and the like are CloudStack's i686. */
static void read_kernel(struct facts *f)
{
	struct utsname u;

	if (uname(&u))
		return;
	str_copy(f->kernel, sizeof(f->kernel), u.release);
	str_copy(f->arch, sizeof(f->arch), u.machine);
	if (strlen(f->arch) == 4 && f->arch[0] == 'i' && strcmp(f->arch + 2, "86") == 0)
		f->arch[1] = '6';
}

/* ---- /proc/net/route: the device of the route to everywhere with the smallest metric ---- */

static enum err read_route(struct facts *f, const struct facts_roots *roots)
{
	CLEAN(buf_deinit) struct buf text = {0};
	const char *at = read_text(&text, roots, roots->proc, "net/route");
	unsigned long best = 0;
	char line[256];

	if (!at)
		return ERR_NOMEM;
	while (next_line(&at, line, sizeof(line))) {
		char device[32];
		unsigned long to, gateway, flags, refs, use, metric, mask;

		if (sscanf(line, "%31s %lx %lx %lx %lu %lu %lu %lx", device, &to, &gateway, &flags, &refs, &use,
			   &metric, &mask) != 8)
			continue;
		if (to || mask || (f->default_device[0] && metric >= best))
			continue;
		best = metric;
		str_copy(f->default_device, sizeof(f->default_device), device);
	}
	return ERR_OK;
}

enum err facts_read(struct facts *out, const struct facts_roots *roots)
{
	struct facts f = {0};
	struct memory m;
	enum err e = read_cpus(&f, roots);

	if (!e)
		e = read_memory(&m, roots);
	if (!e)
		e = read_os(&f, roots);
	if (!e)
		e = read_route(&f, roots);
	if (e)
		return e;
	f.memory_bytes = m.total * 1024;
	read_kernel(&f);
	*out = f;
	return ERR_OK;
}

/* ---- network cards ---- */

enum err facts_add_card(struct facts *f, const struct facts_card *card)
{
	struct facts_card *more = mem_grow_array(f->cards, f->n_cards + 1, sizeof(*more));

	if (!more)
		return ERR_NOMEM;
	f->cards = more;
	f->cards[f->n_cards++] = *card;
	return ERR_OK;
}

static bool is_public_use(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET) {
		uint32_t ip = ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr);

		return ip >> 24 != 127 && ip >> 16 != 0xa9fe; /* 127/8, 169.254/16 */
	} else {
		const struct in6_addr *ip = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;

		return !IN6_IS_ADDR_LOOPBACK(ip) && !IN6_IS_ADDR_LINKLOCAL(ip);
	}
}

static bool ip_text(char *out, size_t size, const struct sockaddr *a)
{
	const void *ip = a->sa_family == AF_INET
				 ? (const void *)&((const struct sockaddr_in *)(const void *)a)->sin_addr
				 : (const void *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;

	return inet_ntop(a->sa_family, ip, out, (socklen_t)size);
}

static void card_mac(struct facts_card *c, const struct ifaddrs *all)
{
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		const struct sockaddr_ll *ll = (const void *)i->ifa_addr;
		const unsigned char *m;

		if (!ll || ll->sll_family != AF_PACKET || ll->sll_halen != 6 || strcmp(i->ifa_name, c->device) != 0)
			continue;
		m = ll->sll_addr;
		snprintf(c->mac, sizeof(c->mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
	}
}

static bool card_from(struct facts_card *c, const struct ifaddrs *i, const struct ifaddrs *all)
{
	const struct sockaddr *a = i->ifa_addr;

	if (!a || !(i->ifa_flags & IFF_UP) || (a->sa_family != AF_INET && a->sa_family != AF_INET6))
		return false;
	*c = (struct facts_card){.is_ipv6 = a->sa_family == AF_INET6, .is_public_use = is_public_use(a)};
	str_copy(c->device, sizeof(c->device), i->ifa_name);
	if (!ip_text(c->ip, sizeof(c->ip), a))
		return false;
	if (i->ifa_netmask && i->ifa_netmask->sa_family == a->sa_family &&
	    !ip_text(c->netmask, sizeof(c->netmask), i->ifa_netmask))
		c->netmask[0] = '\0';
	card_mac(c, all);
	return true;
}

enum err facts_read_cards(struct facts *f)
{
	struct ifaddrs *all = NULL;
	struct facts_card c;
	enum err e = ERR_OK;

	/* A machine that doesn't tell has none. */
	if (getifaddrs(&all))
		return ERR_OK;
	for (const struct ifaddrs *i = all; i && !e; i = i->ifa_next) {
		if (card_from(&c, i, all))
			e = facts_add_card(f, &c);
	}
	freeifaddrs(all);
	return e;
}

static const struct facts_card *card_of_device(const struct facts *f, const char *device)
{
	const struct facts_card *second = NULL;

	for (size_t i = 0; i < f->n_cards; i++) {
		const struct facts_card *c = &f->cards[i];

		if (!c->is_public_use || (device && strcmp(c->device, device) != 0))
			continue;
		if (!c->is_ipv6)
			return c;
		second = second ? second : c;
	}
	return second;
}

const struct facts_card *facts_own_card(const struct facts *f, const struct agent_settings *s)
{
	const struct facts_card *c = NULL;

	/* 1. The address that servers see. */
	for (size_t i = 0; s->source_ip && i < f->n_cards; i++) {
		if (strcmp(f->cards[i].ip, s->source_ip) == 0)
			return &f->cards[i];
	}
	/* 2. What the operator says. 3. Where the way out is. 4. Any that others can see. 5. Any. */
	if (s->private_device)
		c = card_of_device(f, s->private_device);
	if (!c && f->default_device[0])
		c = card_of_device(f, f->default_device);
	if (!c)
		c = card_of_device(f, NULL);
	return c || !f->n_cards ? c : &f->cards[0];
}

enum err facts_addresses(struct str_list *out, const struct facts *f, const struct agent_settings *s)
{
	enum err e = s->source_ip ? str_list_add(out, s->source_ip) : ERR_OK;

	for (size_t i = 0; !e && i < f->n_cards; i++) {
		if (f->cards[i].is_public_use && !str_list_has(out, f->cards[i].ip))
			e = str_list_add(out, f->cards[i].ip);
	}
	return e;
}

/* ---- a startup ---- */

static enum err set_known(msg_text *to, const char *value)
{
	return str_is_blank(value) ? ERR_OK : msg_set_text(to, value);
}

static enum err put_details(const struct facts *f, bool is_secured, struct msg_startup_routing *out)
{
	const struct {
		const char *key, *value;
	} details[] = {
		{"Host.OS", f->os_name[0] ? f->os_name : "Linux"},
		{"Host.OS.Version", f->os_version},
		{"Host.OS.Kernel.Version", f->kernel},
		{"com.cloud.network.Networks.RouterPrivateIpStrategy", "HostLocal"},
		{"secured", is_secured ? "true" : "false"},
		{"host.volume.encryption", "false"},
		{"host.instance.conversion", "false"},
		{"host.vddk.support", "false"},
	};
	enum err e = ERR_OK;

	out->hostDetails.has = true;
	for (size_t i = 0; !e && i < ARRAY_SIZE(details); i++)
		e = msg_map_put(&out->hostDetails, details[i].key, details[i].value);
	return e;
}

static enum err put_network(const struct facts *f, const struct agent_settings *s, struct msg_startup_common *out)
{
	const struct facts_card *c = facts_own_card(f, s);
	enum err e = ERR_OK;

	if (!c)
		return ERR_OK;
	/* CloudStack's agent repeats the private values where there is no storage network. */
	e = set_known(&out->privateIpAddress, c->ip);
	if (!e)
		e = set_known(&out->privateNetmask, c->netmask);
	if (!e)
		e = set_known(&out->privateMacAddress, c->mac);
	if (!e)
		e = set_known(&out->storageIpAddress, c->ip);
	if (!e)
		e = set_known(&out->storageNetmask, c->netmask);
	if (!e)
		e = set_known(&out->storageMacAddress, c->mac);
	return e;
}

static enum err put_hypervisor(const struct agent_settings *s, struct msg_startup_routing *out)
{
	char type[32];

	str_copy(type, sizeof(type), s->hypervisor);
	for (char *c = type; *c; c++)
		*c = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
	return msg_set_text(&out->hypervisorType, type);
}

/* KiB for guests: what there is, less what the host keeps, more what is promised beyond it. */
static int64_t for_guests_kib(int64_t kib, const struct agent_settings *s)
{
	int64_t left = kib - s->reserved_mb * 1024 + s->overcommit_mb * 1024;

	return left > 0 ? left : 0;
}

static enum err put_tags(const struct agent_settings *s, struct msg_startup_routing *out)
{
	out->hostTags.has = true;
	return agent_settings_tags(&out->hostTags.list, s);
}

enum err facts_put(const struct facts *f, const struct agent_settings *s, bool is_secured, const bool *is_healthy,
		   struct msg_startup_routing *out)
{
	enum err e = put_details(f, is_secured, out);

	if (!e)
		e = put_network(f, s, &out->startup);
	if (!e)
		e = put_hypervisor(s, out);
	if (!e)
		e = put_tags(s, out);
	if (!e)
		e = set_known(&out->cpuArch, f->arch);
	if (!e)
		e = msg_set_text(&out->caps, f->has_vmx ? "hvm" : "");
	if (e)
		return e;
	if (f->sockets)
		msg_set_i64(&out->cpuSockets, f->sockets);
	msg_set_i64(&out->cpus, f->cpus);
	msg_set_i64(&out->speed, f->mhz);
	msg_set_i64(&out->memory, for_guests_kib(f->memory_bytes / 1024, s) * 1024);
	msg_set_i64(&out->dom0MinMemory, s->reserved_mb * MIB);
	msg_set_bool(&out->poolSync, false);
	msg_set_bool(&out->supportsClonedVolumes, false);
	if (is_healthy)
		msg_set_bool(&out->hostHealthCheckResult, *is_healthy);
	out->groupDetails = json_object();
	out->gpuDevices = json_array();
	return out->groupDetails && out->gpuDevices ? ERR_OK : ERR_NOMEM;
}

/* ---- measured ---- */

/* "cpu  user nice system idle iowait irq softirq steal guest guest_nice": guests are in user already. */
static enum err measure_cpu(double *percent, struct facts_cpu *before, const struct facts_roots *roots, struct why *why)
{
	CLEAN(buf_deinit) struct buf text = {0};
	const char *at = read_text(&text, roots, roots->proc, "stat");
	uint64_t v[8] = {0}, total = 0, busy, d_total;
	struct facts_cpu old = *before;

	if (!at)
		return ERR_NOMEM;
	if (sscanf(at,
		   "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
		   &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) < 4) {
		why_set(why, "%s/stat doesn't say how busy the processors are", roots->proc);
		return ERR_IO;
	}
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		total += v[i];
	busy = total - v[3] - v[4];
	*before = (struct facts_cpu){.busy = busy, .total = total};
	/* The idle counters of some kernels step back a little now and then. */
	d_total = total > old.total ? total - old.total : 0;
	*percent = d_total && busy > old.busy ? 100.0 * (double)(busy - old.busy) / (double)d_total : 0.0;
	if (*percent > 100.0)
		*percent = 100.0;
	return ERR_OK;
}

static enum err measure_load(double *load, const struct facts_roots *roots, struct why *why)
{
	CLEAN(buf_deinit) struct buf text = {0};
	const char *at = read_text(&text, roots, roots->proc, "loadavg");

	if (!at)
		return ERR_NOMEM;
	if (sscanf(at, "%lf", load) == 1)
		return ERR_OK;
	why_set(why, "%s/loadavg doesn't say what the load is", roots->proc);
	return ERR_IO;
}

/* The device of public.network.device or of the default route; without either all but the loopback. */
static enum err measure_network(struct facts_stats *out, const struct facts_roots *roots, const struct facts *f,
				const struct agent_settings *s)
{
	CLEAN(buf_deinit) struct buf text = {0};
	const char *at = read_text(&text, roots, roots->proc, "net/dev");
	const char *wanted = s->public_device ? s->public_device : f->default_device;
	uint64_t rx_sum = 0, tx_sum = 0;
	char line[512];

	if (!at)
		return ERR_NOMEM;
	while (next_line(&at, line, sizeof(line))) {
		char *colon = strchr(line, ':');
		uint64_t rx, tx;
		const char *device;

		if (!colon || sscanf(colon + 1, "%" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64, &rx, &tx) != 2)
			continue;
		*colon = '\0';
		device = str_trim(line);
		if (*wanted ? strcmp(device, wanted) != 0 : strcmp(device, "lo") == 0)
			continue;
		rx_sum += rx;
		tx_sum += tx;
	}
	out->rx_kib = (double)rx_sum / 1024;
	out->tx_kib = (double)tx_sum / 1024;
	return ERR_OK;
}

enum err facts_measure(struct facts_stats *out, struct facts_cpu *cpu, const struct facts_roots *roots,
		       const struct facts *f, const struct agent_settings *s, struct why *why)
{
	struct memory m;
	enum err e = measure_cpu(&out->cpu_percent, cpu, roots, why);

	if (!e)
		e = measure_load(&out->load, roots, why);
	if (!e)
		e = measure_network(out, roots, f, s);
	if (!e)
		e = read_memory(&m, roots);
	if (e)
		return e;
	out->total_kib = (double)for_guests_kib(m.total, s);
	out->free_kib = (double)for_guests_kib(m.free + m.cached + m.buffers, s);
	return ERR_OK;
}
