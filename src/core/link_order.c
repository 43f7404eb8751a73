#include "core/link_order.h"

#include "base/str.h"

bool link_is_older(const struct link_stamp *a, const struct link_stamp *than)
{
	if (!a->boot || !than->boot)
		return false;
	if (str_equal(a->boot, than->boot))
		return a->link_number < than->link_number;
	/* Boot ids are random. An agent that could not keep its count has no number, and is never late. */
	return a->boot_number > 0 && than->boot_number > 0 && a->boot_number < than->boot_number;
}
