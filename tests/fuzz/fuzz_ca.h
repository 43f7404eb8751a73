/*
 * A CA that is made for the fuzz targets, a leaf of it, and whom it has signed for: whoever else is believed has broken
 * a signature.
 */
#pragma once

/* clang-format off */
static const char fuzz_ca[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBfDCCASKgAwIBAgIDXsDeMAoGCCqGSM49BAMCMBIxEDAOBgNVBAMMB2Z1enog\n"
	"Q0EwIhgPMjAyNjExMjgwNjUyNDRaGA8yMDgxMDgzMTA3NTI0NFowEjEQMA4GA1UE\n"
	"AwwHZnV6eiBDQTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFZDBWo5KVaXYeKE\n"
	"lQ7ycmMwiP6P5eINWV7fzDE5dmBu63T/RtrqouwoPkZ9v1hWC7XrCO5aibgxYZUO\n"
	"Uxu42T2jYzBhMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgEGMB0GA1Ud\n"
	"DgQWBBSAagRV09wn6zw1VlX4HUdeMK12/DAfBgNVHSMEGDAWgBSAagRV09wn6zw1\n"
	"VlX4HUdeMK12/DAKBggqhkjOPQQDAgNIADBFAiEA/6Ch3rVi+++xTKpIf8URVYQ3\n"
	"KOqI9+BCDAPF7hIc26kCIHDcgSxsnYGOSTg5I4ELTbZG/+M0MtrvU8RsqUE828Oq\n"
	"-----END CERTIFICATE-----\n";
static const char fuzz_leaf[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBijCCAS+gAwIBAgIBdzAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdmdXp6IENB\n"
	"MCIYDzIwMjYxMTI4MDY1MjQ2WhgPMjA4MTA4MzEwNzUyNDZaMA8xDTALBgNVBAMM\n"
	"BGxlYWYwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQMJzfTvF4R8b/5tDtGrPGH\n"
	"0/v0+duxLQe8m8+4nik76bZhCgCUW85QrVCjYB90s/vtVgGRzT60L3YfQBilgb6Z\n"
	"o3UwczAcBgNVHREEFTAThhFtdXN0ZXI6YWdlbnQ6bGVhZjATBgNVHSUEDDAKBggr\n"
	"BgEFBQcDAjAdBgNVHQ4EFgQUDGGHkYoEi00S8Nc2K+xe4fgCv7MwHwYDVR0jBBgw\n"
	"FoAUgGoEVdPcJ+s8NVZV+B1HXjCtdvwwCgYIKoZIzj0EAwIDSQAwRgIhAPXJ9oTr\n"
	"f7bHT6wUGTMKO8pv5S/ktVD+JqRnNqWYyKsvAiEAiRurbNi14ITIV/pHvqBF7D4c\n"
	"+eJqVflJ87x73ld6LI0=\n"
	"-----END CERTIFICATE-----\n";
static const char fuzz_leaf_key[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgXwiz7OYXzFoCM274\n"
	"NLk5Ke+piNTBojJqiy8r9ktLxJ+hRANCAAQMJzfTvF4R8b/5tDtGrPGH0/v0+dux\n"
	"LQe8m8+4nik76bZhCgCUW85QrVCjYB90s/vtVgGRzT60L3YfQBilgb6Z\n"
	"-----END PRIVATE KEY-----\n";
/* SHA-256 of the public keys that it has signed. */
static const char *const fuzz_signed_keys[] = {
	"37df3f8a7c2f2fe751cc3fb9ee769117d14d471d7ed5a400a200773f21dce15f", /* the CA */
	"4e5069b36fde9dfc04853962ae7fbf75d461812ce02aaac71866c4b82f92c65c", /* intermediates */
	"113fc3227c7bb0d4c091df1f2703c2444877e33c7aeee13ab196fd3ee3007da7", /* leaves */
};
#define FUZZ_WALL_S 1795852367 /* when they were made */
/* clang-format on */
