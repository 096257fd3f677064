"""The native pump of the tun data path: a C extension, built where a compiler and OpenSSL's headers are."""
