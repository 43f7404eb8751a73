#include "base/process.h"

#include <sys/prctl.h>
#include <sys/resource.h>

void process_keep_secrets(void)
{
	const struct rlimit none = {0, 0};

	/* Also where cores go to a program (core_pattern with a pipe), which asks for no limit. */
	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &none);
}
