#ifndef FLOWOS_CHTTPPARSER_H
#define FLOWOS_CHTTPPARSER_H
#include <http_parser.h>
#endif
