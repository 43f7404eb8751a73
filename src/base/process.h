/*
 * What a process with secrets in its memory does first.
 */
#pragma once

/* No core file, of our children neither, and no other process of the same user that reads along. */
void process_keep_secrets(void);
