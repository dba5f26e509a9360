/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of this compilation of the reference kernels. */
#include "kern/ref/table.h"

#include "kern/ref/attend.h"
#include "kern/ref/mul.h"
#include "kern/ref/quantize.h"
#include "kern/ref/recurrent.h"
#include "kern/ref/vector.h"

void MD_K(table_fill)(md_kern *k)
{
    *k = (md_kern){
        .isa = MD_K_STRING(MD_KERN_ISA),
        .quantize32 = MD_K(quantize32),
        .quantize256 = MD_K(quantize256),
        .dot16 = MD_K(dot16),
        .attend = MD_K(attend),
        .attend_sink = MD_K(attend_sink),
        .attend_finish = MD_K(attend_finish),
    };
    MD_K(mul_float_fill)(k);
    MD_K(mul_quant_fill)(k);
    MD_K(vector_fill)(k);
    MD_K(recurrent_fill)(k);
}
